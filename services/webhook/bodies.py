"""Bodies: how a request's bytes are taken in, before anything in them is believed.

Anybody who reaches the port may send them. So the size is capped, the time too, compressed bodies
are refused before a byte of them is looked at, and only so many are read at once: what would be one
too many is told to come back. An API server does so by itself.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from services.webhook.errors import Reason, RefusedError

MAX_BYTES = 6 * 1024 * 1024
"""Istio's limit: a review may carry an old and a new object, of 1.5 MiB each in etcd, as JSON."""

READ_SECONDS = 5.0
"""Within the ten seconds that a webhook has at most by default."""

AT_ONCE = 32
"""Bodies in memory; the overflow is answered 503, and counted as `busy`."""


class Bodies:
    """Reads the bodies of one port."""

    def __init__(
        self, *, max_bytes: int = MAX_BYTES, seconds: float = READ_SECONDS, at_once: int = AT_ONCE
    ) -> None:
        self._max = max_bytes
        self._seconds = seconds
        self._free = at_once

    @asynccontextmanager
    async def read(self, request: web.Request) -> AsyncIterator[bytes]:
        """Yield the JSON body of a request; it counts as held while the block runs.

        Raises:
            RefusedError: it is none, too large, too slow, or one too many.

        """
        _check_head(request, self._max)
        if self._free <= 0:
            raise RefusedError(Reason.BUSY, "too many requests at once")
        self._free -= 1
        try:
            yield await self._whole(request)
        finally:
            self._free += 1

    async def _whole(self, request: web.Request) -> bytes:
        found = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
                async for chunk in request.content.iter_any():
                    found += chunk
                    if len(found) > self._max:
                        raise RefusedError(Reason.TOO_LARGE, _limit(self._max))
        except TimeoutError:
            text = f"the body did not come within {self._seconds:g} s"
            raise RefusedError(Reason.TOO_SLOW, text) from None
        if not found:
            raise RefusedError(Reason.NOT_A_REVIEW, "there is no body")
        return bytes(found)


def _check_head(request: web.Request, limit: int) -> None:
    if request.content_type != "application/json":
        raise RefusedError(Reason.CONTENT_TYPE, "the content type must be application/json")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise RefusedError(Reason.ENCODING, "the body must not be compressed")
    if (request.content_length or 0) > limit:
        raise RefusedError(Reason.TOO_LARGE, _limit(limit))


def _limit(limit: int) -> str:
    return f"a body has at most {limit} bytes"
