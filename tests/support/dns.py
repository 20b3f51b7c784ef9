"""DNS for tests: queries in bytes, what responses say, and a server that counts."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address

from msgspec import Struct

A, CNAME, AAAA, MX = 1, 5, 28, 15


class Response(Struct, frozen=True):
    """What a message says."""

    number: int
    code: int
    truncated: bool
    answers: tuple[tuple[str, int, int, str], ...]
    """Owner, type, seconds and value of each."""

    @property
    def addresses(self) -> list[str]:
        return sorted(value for _, kind, _, value in self.answers if kind != CNAME)


def query(name: str, kind: int = A, *, number: int = 7, edns: int = 0) -> bytes:
    """Return a query as resolvers write it."""
    header = struct.pack("!6H", number, 0x0100, 1, 0, 0, 1 if edns else 0)
    extra = b"\0" + struct.pack("!HHIH", 41, edns, 0, 0) if edns else b""
    return header + _packed(name) + struct.pack("!HH", kind, 1) + extra


def response(asked: bytes, addresses: list[str], *, code: int = 0, cut: bool = False) -> bytes:
    """Return what a server says to a query without EDNS."""
    flags = 0x8180 | code | (0x0200 if cut else 0)
    end = asked.index(b"\0", 12) + 5
    rows = b""
    for address in addresses:
        data = ip_address(address).packed
        kind = A if len(data) == 4 else AAAA
        rows += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data
    return asked[:2] + struct.pack("!5H", flags, 1, len(addresses), 0, 0) + asked[12:end] + rows


def read(raw: bytes) -> Response:
    """Return what a response says; pointers are followed as a resolver would."""
    number, flags, questions, count, _, _ = struct.unpack_from("!6H", raw)
    position = 12
    for _ in range(questions):
        position = _name(raw, position)[1] + 4
    rows = []
    for _ in range(count):
        owner, position = _name(raw, position)
        kind, _, ttl, length = struct.unpack_from("!HHIH", raw, position)
        position += 10
        data = raw[position : position + length]
        value = _name(raw, position)[0] if kind == CNAME else str(ip_address(data))
        rows.append((owner, kind, ttl, value))
        position += length
    assert position == len(raw)
    return Response(number, flags & 15, bool(flags & 0x0200), tuple(rows))


def name_of(asked: bytes) -> str:
    """Return the name that a query asks for."""
    return _name(asked, 12)[0]


async def by_udp(address: tuple[str, int], message: bytes) -> bytes:
    """Return the answer to a datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.setblocking(False)
        made.connect(address)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(made, message)
        return await asyncio.wait_for(loop.sock_recv(made, 65535), 60)


async def by_tcp(address: tuple[str, int], message: bytes) -> bytes:
    """Return the answer over a connection; empty if it is closed instead."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(len(message).to_bytes(2, "big") + message)
        length = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), 60), "big")
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
    finally:
        writer.close()


class Server:
    """A network's server: knows a few names, counts what it is asked."""

    def __init__(self, known: dict[str, list[str]]) -> None:
        self.known = known
        self.asked: list[tuple[str, str]] = []
        self.silent = 0
        """So many further queries get no answer."""
        self.cut = False
        """Datagrams say that they are cut."""
        self.port = 0

    def answer(self, message: bytes, way: str) -> bytes:
        """Return the answer; empty for none."""
        name = name_of(message)
        self.asked.append((way, name))
        if self.silent:
            self.silent -= 1
            return b""
        kind = int.from_bytes(message[message.index(b"\0", 12) + 1 :][:2], "big")
        if name not in self.known:
            return response(message, [], code=3)
        if self.cut and way == "udp":
            return response(message, [], cut=True)
        found = self.known[name] if kind == A else []
        return response(message, found)

    @asynccontextmanager
    async def serving(
        self, datagrams: socket.socket | None = None, listening: socket.socket | None = None
    ) -> AsyncIterator[None]:
        """Serve on the sockets, or on free ports of 127.0.0.1."""
        listening = listening or _bound(socket.SOCK_STREAM, 0)
        self.port = listening.getsockname()[1]
        datagrams = datagrams or _bound(socket.SOCK_DGRAM, self.port)
        server = await asyncio.start_server(self._connected, sock=listening)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=datagrams)
        try:
            yield
        finally:
            transport.close()
            server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            length = int.from_bytes(await reader.readexactly(2), "big")
            said = self.answer(await reader.readexactly(length), "tcp")
            writer.write(len(said).to_bytes(2, "big") + said)
            await writer.drain()
        writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Server) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.DatagramTransport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if said := self._server.answer(data, "udp"):
            self._transport.sendto(said, addr)


def _bound(kind: socket.SocketKind, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind)
    made.bind(("127.0.0.1", port))
    return made


def _packed(name: str) -> bytes:
    labels = [label.encode() for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _name(raw: bytes, position: int) -> tuple[str, int]:
    labels = []
    end = 0
    while length := raw[position]:
        if length >= 0xC0:
            end = end or position + 2
            position = int.from_bytes(raw[position : position + 2], "big") & 0x3FFF
            continue
        labels.append(raw[position + 1 : position + 1 + length].decode("latin-1"))
        position += 1 + length
    return ".".join(labels), end or position + 1
