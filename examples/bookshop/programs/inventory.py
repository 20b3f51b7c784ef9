"""The inventory (raw TCP): how many copies there are. `lines` says what it speaks.

Port 7000 reads and takes, port 7001 adds: two ports, so that a policy can tell them apart, which
is all that a proxy can know of a protocol that it does not understand.
"""

import asyncio
from functools import partial

from examples.bookshop.programs import lines, place, web

VERBS = {lines.STOCK_PORT: {"STOCK": 0, "TAKE": -1}, lines.RESTOCK_PORT: {"PUT": 1}}
MAX_LINE = 128


class Inventory:
    """The stock of every book, a thousand copies of each to begin with."""

    def __init__(self) -> None:
        self._stock: dict[int, int] = {}

    def answer(self, port: int, request: str) -> str:
        """Return the answer to one line."""
        verb, _, rest = request.partition(" ")
        numbers = rest.split()
        if verb not in VERBS[port] or not numbers or not all(map(str.isdigit, numbers)):
            return f"ERROR 0 {place.INSTANCE}"
        book, count = int(numbers[0]), int(numbers[-1])
        stock = self._stock.get(book, 1000) + VERBS[port][verb] * count
        self._stock[book] = max(stock, 0)
        return f"OK {self._stock[book]} {place.INSTANCE}"

    async def serve(
        self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one connection."""
        try:
            async with asyncio.timeout(10):
                line = await reader.readuntil(b"\n")
                writer.write(f"{self.answer(port, line.decode().strip())}\n".encode())
                await writer.drain()
        except (OSError, TimeoutError, UnicodeError, asyncio.IncompleteReadError, ValueError):
            pass  # whoever hangs up, dawdles or talks nonsense gets no answer
        finally:
            writer.close()


async def main() -> None:
    """Serve both ports until told to end."""
    inventory = Inventory()
    for port in VERBS:
        await asyncio.start_server(
            partial(inventory.serve, port), place.LISTEN, port, limit=MAX_LINE
        )
    await web.until_told()


if __name__ == "__main__":
    asyncio.run(main())
