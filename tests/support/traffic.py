"""Small clients and an application for live tests: raw bytes and one HTTP request a connection."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from msgspec import Struct

_SECONDS = 60


class Answer(Struct, frozen=True):
    """What came back; status 0 means that there was no answer."""

    status: int
    headers: Mapping[str, str] = {}
    body: str = ""
    peer: bytes = b""  # the server's certificate, DER
    alpn: str = ""


NOTHING = Answer(0)


@asynccontextmanager
async def application(
    address: str, *ports: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Answer HTTP with the request's own head, and anything else with its bytes in upper case."""
    servers = [await asyncio.start_server(_serve, address, port, ssl=tls) for port in ports]
    try:
        yield
    finally:
        for server in servers:
            server.close()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while first := await reader.read(4096):
            if b"HTTP/1" not in first:
                writer.write(first.upper())
                await writer.drain()
                continue
            head, _, _ = first.partition(b"\r\n\r\n")
            reply = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(head)
            writer.write(reply + head)
            await writer.drain()
            if b"connection: close" in head:
                break
    except ConnectionError:
        pass
    finally:
        writer.close()


async def http(
    address: tuple[str, int],
    path: str = "/",
    *,
    tls: ssl.SSLContext | None = None,
    server_name: str = "",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request and return the answer; with TLS for `server_name`, or for no name."""
    lines = {"host": "test", "connection": "close", **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    request = f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode()
    try:
        async with asyncio.timeout(_SECONDS):
            return await _request(address, request, tls, server_name)
    except (OSError, asyncio.IncompleteReadError):
        return NOTHING


async def exchange(
    address: tuple[str, int], sent: bytes, *, tls: ssl.SSLContext | None = None
) -> Answer:
    """Send bytes and return what comes back until the other side is done or silent."""
    try:
        async with asyncio.timeout(_SECONDS):
            return await _exchange(address, sent, tls)
    except (OSError, asyncio.IncompleteReadError):
        return NOTHING


async def _request(
    address: tuple[str, int], request: bytes, tls: ssl.SSLContext | None, server_name: str
) -> Answer:
    async with _connected(address, tls, server_name) as (reader, writer):
        writer.write(request)
        await writer.drain()
        top = (await reader.readuntil(b"\r\n\r\n")).decode()
        status, *rest = top.strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in rest)
        body = await reader.readexactly(int(headers["content-length"]))
        peer, alpn = _proved(writer)
        return Answer(int(status.split()[1]), headers, body.decode(), peer, alpn)


async def _exchange(address: tuple[str, int], sent: bytes, tls: ssl.SSLContext | None) -> Answer:
    async with _connected(address, tls) as (reader, writer):
        writer.write(sent)
        await writer.drain()
        body = await reader.read(4096)
        peer, alpn = _proved(writer)
        return Answer(1 if body else 0, {}, body.decode("latin-1"), peer, alpn)


@asynccontextmanager
async def _connected(
    address: tuple[str, int], tls: ssl.SSLContext | None, server_name: str = ""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    name = (server_name or None) if tls else None
    reader, writer = await asyncio.open_connection(*address, ssl=tls, server_hostname=name)
    try:
        yield reader, writer
    finally:
        writer.close()


def _proved(writer: asyncio.StreamWriter) -> tuple[bytes, str]:
    """Return the server's certificate and the protocol agreed on, if it spoke TLS."""
    encrypted = writer.get_extra_info("ssl_object")
    if encrypted is None:
        return b"", ""
    return encrypted.getpeercert(binary_form=True), encrypted.selected_alpn_protocol() or ""
