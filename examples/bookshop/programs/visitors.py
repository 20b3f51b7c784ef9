"""The visitors: a program that keeps browsing and buying, and prints what became of each visit.

One line of JSON a visit, on standard output, for people and for whoever watches the shop:
`{"program": "visitors", "instance": …, "visit": "GET /books/1", "call": {…}}`, where `call` is the
call to the storefront with everything that it led to. RATE is visits a second.
"""

import asyncio
import itertools
import json
import sys

from aiohttp import ClientSession

from examples.bookshop.programs import place, web

RATE = float(place.setting("RATE", "20"))
BOOKS = 5
# Mostly readers, some buyers, and a few who try what is forbidden.
VISITS = (
    *(("GET", "/books/{book}"),) * 16,
    *(("POST", "/orders/{book}"),) * 3,
    ("DELETE", "/books/{book}/reviews"),
    ("GET", "/books/{book}/ratings"),
    ("POST", "/books/{book}/restock"),
)
MAX_UNDER_WAY = 50


def report(**fields: object) -> None:
    """Print one line of JSON at once."""
    line = json.dumps({"instance": place.INSTANCE, **fields}, separators=(",", ":"))
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _visit(client: ClientSession, method: str, path: str) -> None:
    call = await web.call(client, method, "storefront", path=path)
    report(program="visitors", visit=f"{method} {path}", call=web.told(call)[0])


async def browse() -> None:
    """Visit for ever, RATE times a second, with a bound on how many visits are under way."""
    free = asyncio.Semaphore(MAX_UNDER_WAY)

    async def visit(client: ClientSession, number: int) -> None:
        method, path = VISITS[number % len(VISITS)]
        try:
            await _visit(client, method, path.format(book=number % BOOKS + 1))
        finally:
            free.release()

    async with web.session() as client, asyncio.TaskGroup() as group:
        for number in itertools.count():
            await free.acquire()
            group.create_task(visit(client, number))
            await asyncio.sleep(1 / RATE)


async def main() -> None:
    """Browse until told to end."""
    browsing = asyncio.get_running_loop().create_task(browse())
    await web.until_told()
    browsing.cancel()
    await asyncio.gather(browsing, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
