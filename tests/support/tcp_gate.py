"""A gate before a TCP port: what passes is counted, delayed, held back for ever, or cut off.

What is held back is neither answered nor refused: connections that are open stay open, new ones are
accepted and hear nothing. That is how a network looks that swallows packets.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from libs.runtime.tasks import background

CHUNK = 64 * 1024


class Gate:
    """Make it with `gate`."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.connections = 0
        """How many there have been."""
        self.latency = 0.0
        """Seconds by which each chunk is late, on each way."""

    def hold(self) -> None:
        """Let nothing pass from now on, in either direction."""
        self._open.clear()

    def release(self) -> None:
        """Let everything pass, what was held back first."""
        self._open.set()

    def cut(self) -> None:
        """End all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._open.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, back))
                group.create_task(self._pass(there, writer))
        except* OSError:
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass chunks on, each as late as it is to be, but not one after another late."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1000)
        self._writers.add(writer)
        try:
            async with background(self._write(late, writer)):
                while chunk := await reader.read(CHUNK):
                    await late.put((asyncio.get_running_loop().time() + self.latency, chunk))
                await late.put((asyncio.get_running_loop().time() + self.latency, b""))
                await late.join()
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _write(
        self, late: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        while True:
            moment, chunk = await late.get()
            await asyncio.sleep(max(moment - asyncio.get_running_loop().time(), 0.0))
            await self._open.wait()
            with suppress(OSError):
                writer.write(chunk)
                await writer.drain()
            late.task_done()


@asynccontextmanager
async def gate(target: int) -> AsyncIterator[Gate]:
    """Run a gate before a port of this machine while the block runs."""
    found = Gate(target)
    server = await asyncio.start_server(found.accept, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        found.release()
        found.cut()
