"""Fetch: a module of WebAssembly into a file, within limits.

The URL was written by a user: its addresses are judged by `libs.runtime.reach` after the name was
resolved, and the connection goes to the very address that was judged; so it is at each redirect.
The body is counted as it comes, and counted again as it is unpacked. Nothing is kept of what is
not a module, or not the one whose digest was asked for.
"""

import asyncio
import hashlib
import ssl
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import SplitResult, urlsplit

from libs.runtime.reach import Reach, UnreachableError, checked, redirected, refusal
from services.agent.http.client import HttpError, Request, Response, fetch

MAX_BYTES = 64 * 1024 * 1024  # of the module itself, and of what is sent
MAX_REDIRECTS = 3
SECONDS = 30.0

_MAGIC = b"\0asm\x01\0\0\0"
_GZIP = b"\x1f\x8b"
_STEP = 256 * 1024
_PORTS = {"http": 80, "https": 443}


class ModuleError(Exception):
    """No module was had; the message says why in words for the user who wrote the URL."""


async def fetch_module(url: str, into: Path, *, reach: Reach, sha256: str = "") -> str:
    """Write the module behind `url` to the file `into`; return its digest in hexadecimal.

    Raises:
        ModuleError: it cannot be had, may not, or is not what was asked for.

    """
    try:
        async with asyncio.timeout(SECONDS):
            found = await _follow(checked(url), into, reach)
    except TimeoutError as error:
        message = f"no answer within {SECONDS:g} s"
        raise ModuleError(message) from error
    except (HttpError, UnreachableError, OSError, ValueError, zlib.error) as error:
        raise ModuleError(str(error) or type(error).__name__) from error
    if sha256 and found != sha256:
        message = f"its sha256 is {found}, not {sha256}"
        raise ModuleError(message)
    return found


async def _follow(url: str, into: Path, reach: Reach) -> str:
    for _ in range(MAX_REDIRECTS + 1):
        parts = urlsplit(url)
        async with fetch(await _request(parts, reach)) as response:
            if response.status == 200:
                return await _write(response, into)
            url = redirected(url, response.status, response.headers.get("location", ""))
    message = f"more than {MAX_REDIRECTS} redirects"
    raise ModuleError(message)


async def _request(parts: SplitResult, reach: Reach) -> Request:
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    return Request(
        host=await _judged(host, port, reach),
        port=port,
        target=target if target.startswith("/") else f"/{target}",
        headers=(("Host", parts.netloc), ("Accept", "*/*")),
        seconds=SECONDS,
        verified=(host, _context()) if parts.scheme == "https" else None,
    )


def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


async def _judged(host: str, port: int, reach: Reach) -> str:
    """Return an address of `host`, none of which may be one that is not asked."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=1)
    addresses = [str(address[0]) for *_, address in found]
    for address in addresses:
        if reason := refusal(address, reach):
            raise UnreachableError(reason)
    return addresses[0]


async def _write(response: Response, into: Path) -> str:
    digest = hashlib.sha256()
    with into.open("wb") as file:
        async for chunk in _unpacked(response):
            digest.update(chunk)
            await asyncio.to_thread(file.write, chunk)
    _check_magic(into.open("rb"))
    return digest.hexdigest()


def _check_magic(file: BinaryIO) -> None:
    with file:
        if file.read(len(_MAGIC)) != _MAGIC:
            message = "what is there is no module of WebAssembly"
            raise ModuleError(message)


async def _unpacked(response: Response) -> AsyncIterator[bytes]:
    """Yield the body, unpacked if it is packed; neither form may be longer than MAX_BYTES."""
    received = written = 0
    unpacking: zlib._Decompress | None = None
    async for chunk in response.chunks():
        if not received and chunk.startswith(_GZIP):
            unpacking = zlib.decompressobj(wbits=31)
        received += len(chunk)
        _bounded(received)
        for piece in _pieces(unpacking, chunk):
            written += len(piece)
            _bounded(written)
            yield piece
    if unpacking is not None and not unpacking.eof:
        message = "the packed module breaks off"
        raise ModuleError(message)


def _pieces(unpacking: "zlib._Decompress | None", chunk: bytes) -> Iterator[bytes]:
    """Yield what a chunk holds, in small steps: a few bytes may stand for gigabytes."""
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
