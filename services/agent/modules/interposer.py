"""Interposer: stands where the relay writes to Envoy, and takes responses about extensions aside.

They are rewritten one after the other in the background, while everything else goes on; each is
put back between two other messages. At most QUEUE of them wait; then the control plane does.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from libs.runtime.tasks import background
from services.agent.modules.splitter import Held, Splitter
from services.agent.streams.connection import StreamLostError
from services.agent.streams.messages import pack

QUEUE = 16

Write = Callable[[bytes], Awaitable[None]]
Rewrite = Callable[[bytes], Awaitable[bytes]]


class Interposer:
    """Writes one stream. Make it with `interposed`."""

    def __init__(self, write: Write, rewrite: Rewrite) -> None:
        self._write = write
        self._rewrite = rewrite
        self._splitter = Splitter()
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(QUEUE)
        self._between = asyncio.Lock()  # held while a message is on its way
        self._within = False  # one that is passed on in pieces

    async def write(self, data: bytes) -> None:
        """Write what is not about extensions, and take the rest aside.

        Raises:
            MessageError: a response about extensions is too long.

        """
        for piece in self._splitter.feed(data):
            if isinstance(piece, Held):
                await self._waiting.put(piece.message)
                continue
            if not self._within:
                await self._between.acquire()
                self._within = True
            await self._write(piece.data)
            if piece.ends:
                self._within = False
                self._between.release()

    async def run(self) -> None:
        """Rewrite until cancelled, or until the stream is lost, which its reader notices."""
        with contextlib.suppress(StreamLostError):
            while True:
                message = await self._rewrite(await self._waiting.get())
                async with self._between:
                    await self._write(pack(message))


@contextlib.asynccontextmanager
async def interposed(write: Write, rewrite: Rewrite) -> AsyncIterator[Interposer]:
    """Yield an interposer that works while the block does."""
    found = Interposer(write, rewrite)
    async with background(found.run()):
        yield found
