"""Client: one request on one connection, to Envoy's admin port or to the application.

Everything is bounded: the head by h11, the body by the caller who reads it, the whole by a
deadline.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import h11
from msgspec import Struct

_READ_SIZE = 64 * 1024
_MAX_HEAD = 64 * 1024


class HttpError(Exception):
    """No answer was had; the message says why."""


class Request(Struct, frozen=True, kw_only=True):
    """What to ask. The Host header is the address, if `headers` has none."""

    host: str
    port: int
    target: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    seconds: float = 10.0
    source: str = ""
    """Address to connect from; empty: the system's choice."""
    tls: bool = False
    """Encrypt without verifying, as probes do."""
    verified: tuple[str, ssl.SSLContext] | None = None
    """Encrypt, and verify the server by this name."""


class Response:
    """The head of an answer, and its body as it comes."""

    def __init__(self, exchange: "_Exchange", head: h11.Response) -> None:
        self._exchange = exchange
        self.status = head.status_code
        self.headers: dict[str, str] = {}
        """By lower-case name; values of a name that is there twice are joined."""
        for raw_name, raw_value in head.headers:
            name, value = raw_name.decode(), raw_value.decode("latin-1")
            self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value

    def require_success(self) -> None:
        """Return if the status is 200.

        Raises:
            HttpError: it is another one.

        """
        if self.status != 200:
            message = f"answered {self.status}"
            raise HttpError(message)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body piece by piece.

        Raises:
            HttpError: it broke off.

        """
        while isinstance(event := await self._exchange.next_event(), h11.Data):
            yield bytes(event.data)

    async def whole(self, limit: int) -> bytes:
        """Return the body.

        Raises:
            HttpError: it broke off, or is longer than `limit` bytes.

        """
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
            if len(body) > limit:
                message = f"answered more than {limit} bytes"
                raise HttpError(message)
        return bytes(body)

    async def text(self, limit: int) -> str:
        """Return the body as text; what is beyond `limit` bytes is left out."""
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                break
        return b"".join(parts)[:limit].decode("utf-8", "replace")


@asynccontextmanager
async def fetch(request: Request) -> AsyncIterator[Response]:
    """Send `request` and yield its response; the connection ends with the block.

    Raises:
        HttpError: no connection, no HTTP, or no answer in time.

    """
    try:
        async with asyncio.timeout(request.seconds):
            reader, writer = await _connect(request)
            try:
                exchange = _Exchange(reader, writer)
                yield Response(exchange, await exchange.begin(request))
            finally:
                writer.close()
    except TimeoutError as error:
        message = f"{request.host}:{request.port} did not answer in time"
        raise HttpError(message) from error
    except (OSError, h11.RemoteProtocolError, h11.LocalProtocolError) as error:
        message = f"{request.host}:{request.port}: {error}"
        raise HttpError(message) from error


async def _connect(request: Request) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    options: dict[str, Any] = {}
    if request.tls:
        options["ssl"] = unverified()
    if request.verified:
        options["server_hostname"], options["ssl"] = request.verified
    if request.source:
        options["local_addr"] = (request.source, 0)
    return await asyncio.open_connection(request.host, request.port, **options)


def unverified() -> ssl.SSLContext:
    """Return a context that trusts anybody: a probe asks whether a port answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class _Exchange:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD)

    async def begin(self, request: Request) -> h11.Response:
        headers = list(_with_host(request))
        self._send(h11.Request(method=request.method, target=request.target, headers=headers))
        if request.body:
            self._send(h11.Data(data=request.body))
        self._send(h11.EndOfMessage())
        await self._writer.drain()
        while True:
            event = await self.next_event()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                message = "no response"
                raise h11.RemoteProtocolError(message)

    async def next_event(self) -> Any:  # noqa: ANN401  # h11's events have no common type
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            self._h11.receive_data(await self._reader.read(_READ_SIZE))
        return event

    def _send(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> None:
        if data := self._h11.send(event):
            self._writer.write(data)


def _with_host(request: Request) -> Sequence[tuple[str, str]]:
    given = [*request.headers, ("Connection", "close")]
    if request.body:
        given.append(("Content-Length", str(len(request.body))))
    if any(name.lower() == "host" for name, _ in given):
        return given
    host = f"[{request.host}]" if ":" in request.host else request.host
    return [("Host", f"{host}:{request.port}"), *given]
