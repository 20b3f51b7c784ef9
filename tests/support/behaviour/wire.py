"""The application of each workload: HTTP/1, HTTP/2, gRPC and bytes on one port, told what to do.

It answers with what it got, as JSON. The header `x-do` asks it for something else: `503`, `wait
0.5`, `503 twice` (then 200), `reset`; with `at <workload>` only that one does it. `x-give` is a
header `<name>: <value>` that it adds to its answer. Bytes come back in upper case after its name.
"""

import asyncio
import json
import ssl
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
from msgspec import Struct

_GREETING = b"PRI * HTTP/2.0"
_NOT_FINAL = {"once": 1, "twice": 2, "thrice": 3}
_UPGRADED = [("connection", "upgrade"), ("upgrade", "websocket")]
Headers = Sequence[tuple[str, str]]


def joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by lower-case name; values of a name that is there twice are joined."""
    found: dict[str, str] = {}
    for name, value in pairs:
        key, text = name.strip().lower(), value.strip()
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


class Seen(Struct, frozen=True):
    """A request as an application got it."""

    workload: str
    method: str
    path: str
    authority: str
    protocol: str
    headers: Mapping[str, str]
    connection: int = 0


class Applications:
    """All applications of the world, and what they got by the number of the row's request."""

    def __init__(self) -> None:
        self.got: dict[str, list[Seen]] = defaultdict(list)
        self.arrived = asyncio.Condition()
        self.silence: dict[int, float] = {}
        """Seconds between the last answer over a connection and its end."""
        self.numbers = count(1)  # of connections

    def by_workload(self, number: str) -> Counter[str]:
        """Return how often each workload got a request."""
        return Counter(seen.workload for seen in self.got[number])

    async def note(self, seen: Seen) -> int:
        """Note a request; return how many of its number this workload had before."""
        number = seen.headers.get("x-row", "")
        before = self.by_workload(number)[seen.workload]
        async with self.arrived:
            self.got[number].append(seen)
            self.arrived.notify_all()
        return before


class Wanted(Struct, frozen=True):
    """What `x-do` asks for."""

    status: int = 200
    wait: float = 0
    reset: bool = False


def wanted(seen: Seen, before: int) -> Wanted:
    """Return what a request asks of the application that got it `before` times already."""
    words, _, place = seen.headers.get("x-do", "").partition(" at ")
    if not words or (place and place != seen.workload):
        return Wanted()
    verb, _, amount = words.partition(" ")
    if verb == "wait":
        return Wanted(wait=float(amount))
    if amount and before >= _NOT_FINAL[amount]:
        return Wanted()
    return Wanted(reset=True) if verb == "reset" else Wanted(status=int(verb))


@asynccontextmanager
async def application(
    applications: Applications,
    name: str,
    *,
    address: str,
    ports: Sequence[int],
    tls: Mapping[int, ssl.SSLContext] | None = None,
) -> AsyncIterator[None]:
    """Run the application of a workload."""
    contexts = tls or {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(applications, name, reader=reader, writer=writer)
        try:
            await _serve(connection)
        except (OSError, EOFError, h2.exceptions.ProtocolError):
            pass  # the other side has gone
        finally:
            writer.close()
            connection.end()

    servers = [
        await asyncio.start_server(serve, address, port, ssl=contexts.get(port)) for port in ports
    ]
    try:
        yield
    finally:
        for server in servers:
            server.close()


class _Connection:
    """One connection, whatever it speaks."""

    def __init__(
        self,
        applications: Applications,
        name: str,
        *,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.applications = applications
        self.name = name
        self.reader = reader
        self.writer = writer
        self._number = next(applications.numbers)
        self._wrote = time.monotonic()

    async def write(self, data: bytes) -> None:
        self._wrote = time.monotonic()
        self.writer.write(data)
        await self.writer.drain()

    def end(self) -> None:
        """Note how long it was silent before it ended."""
        self.applications.silence[self._number] = time.monotonic() - self._wrote

    async def answer(self, head: Headers, protocol: str) -> tuple[Wanted, Headers, bytes]:
        """Note a request and return what to do, the headers of the answer and its body."""
        fields = joined(head)
        authority = fields.get(":authority") or fields.get("host", "")
        seen = Seen(
            workload=self.name,
            method=fields[":method"],
            path=fields[":path"],
            authority=authority,
            protocol=protocol,
            headers={name: value for name, value in fields.items() if not name.startswith(":")},
            connection=self._number,
        )
        asked = wanted(seen, await self.applications.note(seen))
        await asyncio.sleep(asked.wait)
        given, _, value = seen.headers.get("x-give", "").partition(": ")
        more = [(given, value)] if given else []
        body = json.dumps({"workload": self.name, "path": seen.path}).encode()
        return asked, [("x-by", self.name), *more], body


async def _serve(connection: _Connection) -> None:
    first = await connection.reader.read(65536)
    if first.startswith(_GREETING):
        await _serve_http2(connection, first)
    elif b" HTTP/1." in first:
        await _serve_http1(connection, first)
    else:
        while first:
            await connection.write(connection.name.encode() + b":" + first.upper())
            first = await connection.reader.read(65536)


async def _serve_http1(connection: _Connection, data: bytes) -> None:
    while data:
        while b"\r\n\r\n" not in data:
            data += await _more(connection.reader)
        top, _, data = data.partition(b"\r\n\r\n")
        head = _head(top.decode("latin-1"))
        data = await _skip_body(connection.reader, dict(head), data)
        asked, more, body = await connection.answer(head, "HTTP/1.1")
        if asked.reset:
            connection.writer.transport.abort()
            return
        body = b"" if dict(head)[":method"] == "HEAD" or asked.status == 101 else body
        ends = [("content-length", str(len(body)))] if asked.status != 101 else _UPGRADED
        lines = [*more, *ends]
        text = "".join(f"{name}: {value}\r\n" for name, value in lines)
        await connection.write(f"HTTP/1.1 {asked.status} It\r\n{text}\r\n".encode() + body)
        data = data or await connection.reader.read(65536)


def _head(text: str) -> Headers:
    first, *lines = text.split("\r\n")
    method, path, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    fields = [(name.lower(), value.strip()) for name, _, value in pairs]
    return [(":method", method), (":path", path), *fields]


async def _skip_body(reader: asyncio.StreamReader, head: Mapping[str, str], data: bytes) -> bytes:
    """Return what follows the body of a request."""
    if head.get("transfer-encoding") == "chunked":
        while not data.endswith(b"0\r\n\r\n"):
            data += await _more(reader)
        return b""
    length = int(head.get("content-length", "0"))
    while len(data) < length:
        data += await _more(reader)
    return data[length:]


async def _more(reader: asyncio.StreamReader) -> bytes:
    data = await reader.read(65536)
    if not data:
        raise EOFError
    return data


async def _serve_http2(connection: _Connection, data: bytes) -> None:
    own = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
    )
    own.initiate_connection()
    heads: dict[int, Headers] = {}
    async with asyncio.TaskGroup() as tasks:
        while data:
            for event in own.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    heads[event.stream_id] = event.headers  # type: ignore[assignment]
                elif isinstance(event, h2.events.DataReceived):
                    own.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    head = heads.pop(event.stream_id)
                    tasks.create_task(_reply(connection, own, stream=event.stream_id, head=head))
            await connection.write(own.data_to_send())
            data = await connection.reader.read(65536)


async def _reply(
    connection: _Connection, own: h2.connection.H2Connection, *, stream: int, head: Headers
) -> None:
    asked, more, body = await connection.answer(head, "HTTP/2")
    grpc = dict(head).get("content-type", "").startswith("application/grpc")
    try:
        if asked.reset:
            own.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
        elif grpc:
            kind = ("content-type", "application/grpc")
            _reply_grpc(own, stream, [(":status", "200"), kind, *more], body=body, asked=asked)
        else:
            own.send_headers(stream, [(":status", str(asked.status)), *more])
            own.send_data(stream, body, end_stream=True)
        await connection.write(own.data_to_send())
    except (OSError, h2.exceptions.ProtocolError):
        pass  # the other side has gone


def _reply_grpc(
    own: h2.connection.H2Connection, stream: int, head: Headers, *, body: bytes, asked: Wanted
) -> None:
    if asked.status != 200:  # of gRPC; nothing follows, so that Envoy may try again
        own.send_headers(stream, [*head, ("grpc-status", str(asked.status))], end_stream=True)
        return
    own.send_headers(stream, head)
    own.send_data(stream, b"\0" + len(body).to_bytes(4, "big") + body)
    own.send_headers(stream, [("grpc-status", "0")], end_stream=True)
