"""Outgoing requests to addresses that users wrote: what may be reached, and how much is read.

Every address is judged by `libs.runtime.reach` at the moment of connecting, and again for each
redirect.
Nothing of the caller's goes along: no proxy settings, no cookies, no credentials.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from libs.runtime.reach import Reach as Reach  # noqa: PLC0414 - exported
from libs.runtime.reach import UnreachableError, checked, redirected
from libs.runtime.reach import refusal as refusal  # noqa: PLC0414 - exported

MAX_BYTES = 1024 * 1024
MAX_REDIRECTS = 3


class FetchError(Exception):
    """Nothing usable came; the message says why in words for the user who wrote the URL."""


class Outgoing:
    """Fetches documents. Make it with `opened`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, url: str, *, seconds: float) -> bytes:
        """Return the body behind `url`, after at most `seconds` in all.

        Raises:
            FetchError: it cannot be had, or may not.

        """
        try:
            async with asyncio.timeout(seconds):
                return await self._follow(checked(url))
        except TimeoutError as error:
            message = f"no answer within {seconds:g} s"
            raise FetchError(message) from error
        except (aiohttp.ClientError, OSError, ValueError, UnreachableError) as error:
            raise FetchError(_words(error)) from error

    async def _follow(self, url: str) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            async with self._session.get(url, allow_redirects=False) as answer:
                if answer.status == 200:
                    return await _read(answer)
                url = redirected(url, answer.status, answer.headers.get("location", ""))
        message = f"more than {MAX_REDIRECTS} redirects"
        raise FetchError(message)


@asynccontextmanager
async def opened(reach: Reach) -> AsyncIterator[Outgoing]:
    """Yield a client that may reach what `reach` says."""

    def dial(info: aiohttp.AddrInfoType) -> socket.socket:
        # Called with the address itself, right before connecting to it.
        family, kind, protocol, _, address = info
        if reason := refusal(str(address[0]), reach):
            raise FetchError(reason)
        return socket.socket(family, kind, protocol)

    connector = aiohttp.TCPConnector(
        use_dns_cache=False, force_close=True, limit=16, socket_factory=dial
    )
    async with aiohttp.ClientSession(
        connector=connector,
        trust_env=False,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"accept": "application/json", "accept-encoding": "identity"},
    ) as session:
        yield Outgoing(session)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    if answer.headers.get("content-encoding", "identity") != "identity":
        message = "the answer is compressed, though that was not asked for"
        raise FetchError(message)
    body = bytearray()
    async for piece in answer.content.iter_chunked(64 * 1024):
        body += piece
        if len(body) > MAX_BYTES:
            message = f"the answer has more than {MAX_BYTES} bytes"
            raise FetchError(message)
    return bytes(body)


def _words(error: Exception) -> str:
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, FetchError | UnreachableError):
            return str(inner)
        inner = inner.__cause__ or inner.__context__
    return f"{type(error).__name__}: {str(error)[:200]}"
