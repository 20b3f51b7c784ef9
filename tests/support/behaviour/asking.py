"""Asking: one request of a row, from connecting to the answer, over HTTP/1, HTTP/2, gRPC or TCP.

Each request has a connection of its own, so what Envoy decided for a connection is decided anew.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import h2.config
import h2.connection
import h2.errors
import h2.events
from msgspec import Struct, structs

from tests.support.behaviour.wire import joined
from tests.support.certificates import uris

_SECONDS = 60
_NO_BODY = frozenset({101, 204, 304})


class Call(Struct, frozen=True, kw_only=True):
    """What is sent, and where to."""

    address: tuple[str, int]
    over: str = "h1"
    method: str = "GET"
    path: str = "/"
    headers: Mapping[str, str] = {}  # with `host`
    body: bytes = b""
    preface: str = ""  # a line before all else
    cut: bool = False  # over HTTP/1 and TCP: wait until the other side ends the connection
    kept: float = 0  # over HTTP/1: see for so many seconds that it does not
    tls: ssl.SSLContext | None = None
    server_name: str = ""


class Answer(Struct, frozen=True, kw_only=True):
    """What came back; status 0 means that there was no answer."""

    status: int
    headers: Mapping[str, str] = {}
    body: str = ""
    grpc: int | None = None
    names: tuple[str, ...] = ()  # URIs in the server's certificate
    port: int = 0  # of the client, by which a connection is known in logs

    @property
    def by(self) -> str:
        """The workload that answered, if one did."""
        return self.headers.get("x-by", "")

    @property
    def path(self) -> str:
        """The path that the application got."""
        return str(json.loads(self.body)["path"]) if self.by else ""


NOTHING = Answer(status=0)


async def ask(call: Call, start: asyncio.Barrier | None = None) -> Answer:
    """Return the answer to a call, which is sent when all others of `start` can be sent, too.

    Raises:
        TimeoutError: neither an answer came nor the end of the connection.

    """
    kinds = {"h1": _http1, "h2": _http2, "grpc": _http2, "tcp": _tcp}
    try:
        async with asyncio.timeout(_SECONDS), _connected(call) as (reader, writer):
            port = writer.get_extra_info("sockname")[1]
            if start is not None:
                await start.wait()
            if call.preface:
                writer.write(f"{call.preface}\r\n".encode())
            try:
                answer = await kinds[call.over](call, reader, writer)
            except (ConnectionError, EOFError, ssl.SSLError):
                return structs.replace(NOTHING, port=port)
            return structs.replace(answer, port=port, names=_names(writer))
    except (ConnectionError, EOFError, ssl.SSLError):
        return NOTHING


def _names(writer: asyncio.StreamWriter) -> tuple[str, ...]:
    encrypted = writer.get_extra_info("ssl_object")
    return tuple(uris(encrypted.getpeercert(binary_form=True))) if encrypted else ()


@asynccontextmanager
async def _connected(
    call: Call,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    name = (call.server_name or None) if call.tls else None
    reader, writer = await asyncio.open_connection(
        *call.address, ssl=call.tls, server_hostname=name
    )
    try:
        yield reader, writer
    finally:
        writer.close()


async def _tcp(call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
    writer.write(call.body)
    await writer.drain()
    body = await reader.read(4096)
    if not body:
        return NOTHING
    while call.cut and await reader.read(4096):
        pass
    text = body.decode("latin-1")
    by = text.partition(":")[0]
    return Answer(status=200, headers={"x-by": by}, body=text)


async def _http1(call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
    stays = call.cut or call.kept
    lines = {"connection": "keep-alive" if stays else "close", **call.headers}
    if call.body:
        lines["content-length"] = str(len(call.body))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"{call.method} {call.path} HTTP/1.1\r\n{head}\r\n".encode() + call.body)
    await writer.drain()
    first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    status = int(first.split()[1])
    headers = joined(line.partition(":")[::2] for line in rest)
    body = await _body(call, status, headers, reader=reader)
    while call.cut and await reader.read(4096):
        pass
    if call.kept:
        await _stay(reader, call.kept)
    return Answer(status=status, headers=headers, body=body.decode("latin-1"))


async def _stay(reader: asyncio.StreamReader, seconds: float) -> None:
    """Be silent; if the other side ends the connection meanwhile that is no answer."""
    try:
        async with asyncio.timeout(seconds):
            await reader.read(1)
    except TimeoutError:
        return
    raise EOFError


async def _body(
    call: Call, status: int, headers: Mapping[str, str], *, reader: asyncio.StreamReader
) -> bytes:
    if call.method == "HEAD" or status in _NO_BODY:
        return b""
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    return await reader.read()


async def _http2(call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
    own = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    own.initiate_connection()
    own.send_headers(1, _http2_head(call), end_stream=not call.body)
    if call.body:
        own.send_data(1, call.body, end_stream=True)
    writer.write(own.data_to_send())
    await writer.drain()
    got = _Got()
    while not got.ended:
        data = await reader.read(65536)
        if not data:
            raise EOFError
        for event in own.receive_data(data):
            got.take(event)
        writer.write(own.data_to_send())
        await writer.drain()
    return got.answer()


def _http2_head(call: Call) -> list[tuple[str, str]]:
    headers = dict(call.headers)
    own = [
        (":method", call.method),
        (":scheme", "https" if call.tls else "http"),
        (":authority", headers.pop("host", "")),
        (":path", call.path),
    ]
    if call.over == "grpc":
        own += [("content-type", "application/grpc"), ("te", "trailers")]
    return [*own, *headers.items()]


class _Got:
    """What arrived on the one stream of a connection."""

    def __init__(self) -> None:
        self.ended = False
        self._headers: dict[str, str] = {}
        self._body = b""
        self._reset = False

    def take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            self._headers |= joined((str(name), str(value)) for name, value in event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self._body += event.data
        elif isinstance(event, h2.events.StreamEnded):
            self.ended = True
        elif isinstance(event, h2.events.StreamReset):
            self.ended = self._reset = True
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.ended = True

    def answer(self) -> Answer:
        if self._reset or ":status" not in self._headers:
            return NOTHING
        code = self._headers.get("grpc-status")
        body = self._body[5:] if code is not None else self._body
        return Answer(
            status=int(self._headers[":status"]),
            headers=self._headers,
            body=body.decode("latin-1"),
            grpc=None if code is None else int(code),
        )
