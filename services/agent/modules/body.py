"""Body: bytes of a module as they come: counted, unpacked, counted again, hashed, written.

A few bytes may stand for gigabytes, so what is packed is unpacked in small steps, and neither form
may be longer than MAX_BYTES. Nothing is kept of what is not a module.
"""

import asyncio
import hashlib
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

from services.agent.modules.errors import ModuleError

MAX_BYTES = 64 * 1024 * 1024  # of the module itself, and of what is sent

MAGIC = b"\0asm\x01\0\0\0"
_GZIP = b"\x1f\x8b"
_STEP = 256 * 1024


async def written(pieces: AsyncIterator[bytes], into: Path) -> str:
    """Write a module to the file `into`; return its digest in hexadecimal.

    Raises:
        ModuleError: it is no module.

    """
    digest = hashlib.sha256()
    with into.open("wb") as file:
        async for piece in pieces:
            digest.update(piece)
            await asyncio.to_thread(file.write, piece)
    _check_magic(into.open("rb"))
    return digest.hexdigest()


async def unpacked(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a body, unpacked if it is packed with gzip.

    Raises:
        ModuleError: it is too long, or breaks off.
        zlib.error: what it is packed with is something else.

    """
    received = unfolded = 0
    unpacking: zlib._Decompress | None = None
    async for chunk in chunks:
        if not received and chunk.startswith(_GZIP):
            unpacking = zlib.decompressobj(wbits=31)
        received += len(chunk)
        _bounded(received)
        for piece in _pieces(unpacking, chunk):
            unfolded += len(piece)
            _bounded(unfolded)
            yield piece
    if unpacking is not None and not unpacking.eof:
        message = "the packed module breaks off"
        raise ModuleError(message)


def _pieces(unpacking: "zlib._Decompress | None", chunk: bytes) -> Iterator[bytes]:
    if unpacking is None:
        yield chunk
        return
    while chunk and not unpacking.eof:
        yield unpacking.decompress(chunk, _STEP)
        chunk = unpacking.unconsumed_tail


def _bounded(size: int) -> None:
    if size > MAX_BYTES:
        message = f"it is longer than {MAX_BYTES} bytes"
        raise ModuleError(message)


def _check_magic(file: BinaryIO) -> None:
    with file:
        if file.read(len(MAGIC)) != MAGIC:
            message = "what is there is no module of WebAssembly"
            raise ModuleError(message)
