"""Probes: kubelet's probes of the application, made from inside the pod.

Injection rewrites them to `/app-health/<container>/…` on the agent's port, because kubelet has no
mesh certificate; the originals come in ISTIO_KUBE_APP_PROBERS. They are sent from 127.0.0.6, the
one source that the interception rules let pass to the application as it is.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import Mapping

import msgspec
from google.protobuf.wrappers_pb2 import StringValue
from msgspec import Struct, field

from libs.runtime.tasks import background
from services.agent.http import redirects
from services.agent.http.client import HttpError, Request, fetch
from services.agent.http.server import Answer, Asked, text
from services.agent.streams.connection import Connection, Stream, StreamLostError
from services.agent.streams.messages import MessageError, Unpacker, pack

_PASSTHROUGH = {4: "127.0.0.6", 6: "::6"}
_MAX_BODY = 64 * 1024
_SERVING = b"\x08\x01"  # HealthCheckResponse{status: SERVING}


class ProbesError(ValueError):
    """ISTIO_KUBE_APP_PROBERS cannot be used; the message says why."""


class Header(Struct, frozen=True):
    """A header to send."""

    name: str
    value: str


class HttpGet(Struct, frozen=True, rename="camel"):
    """Ask a path; 2xx and 3xx are well."""

    port: int
    path: str = "/"
    scheme: str = "HTTP"
    host: str = ""
    http_headers: tuple[Header, ...] = ()


class TcpSocket(Struct, frozen=True):
    """Connect."""

    port: int
    host: str = ""


class Grpc(Struct, frozen=True):
    """Ask the standard health service."""

    port: int
    service: str = ""


class Probe(Struct, frozen=True, rename="camel"):
    """One probe of the application; exactly one of the three is there."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    grpc: Grpc | None = None
    timeout_seconds: float = field(default=1.0)


def parse(document: str) -> Mapping[str, Probe]:
    """Return the probe of each path.

    Raises:
        ProbesError: it is no JSON, or not of that shape.

    """
    try:
        return msgspec.json.decode(document or "{}", type=dict[str, Probe])
    except msgspec.MsgspecError as error:
        message = f"ISTIO_KUBE_APP_PROBERS: {error}"
        raise ProbesError(message) from error


class Prober:
    """Makes probes of the application at `address`."""

    def __init__(self, probes: Mapping[str, Probe], address: str) -> None:
        self._probes = probes
        self._address = address
        # An application on a loopback address of its own is not behind interception.
        version = ipaddress.ip_address(address).version
        self._source = "" if ipaddress.ip_address(address).is_loopback else _PASSTHROUGH[version]

    async def answer(self, asked: Asked) -> Answer:
        """Serve one path."""
        probe = self._probes.get(asked.path)
        if probe is None:
            return text(404, "no such probe")
        return await self.made(probe, asked)

    async def made(self, probe: Probe, asked: Asked) -> Answer:
        """Make a probe; headers of `asked` are passed on, unless the probe has its own."""
        try:
            async with asyncio.timeout(max(probe.timeout_seconds, 1.0)):
                return await self._probe(probe, asked)
        except (HttpError, OSError, StreamLostError, MessageError) as error:
            return text(500, f"probe failed: {str(error) or type(error).__name__}")

    async def _probe(self, probe: Probe, asked: Asked) -> Answer:
        if probe.http_get is not None:
            return await self._http(probe.http_get, probe.timeout_seconds, asked)
        if probe.tcp_socket is not None:
            _, writer = await self._connect(probe.tcp_socket.host, probe.tcp_socket.port)
            writer.close()
            return text(200, "connected")
        if probe.grpc is not None:
            return await self._grpc(probe.grpc)
        return text(500, "the probe asks for nothing")

    async def _http(self, wanted: HttpGet, seconds: float, asked: Asked) -> Answer:
        own = [(header.name, header.value) for header in wanted.http_headers]
        names = {name.lower() for name, _ in own} | {"connection", "host", "content-length"}
        passed = [(name, value) for name, value in asked.headers.items() if name not in names]
        request = Request(
            host=wanted.host or self._address,
            port=wanted.port,
            target=redirects.target(wanted.path),
            headers=(*own, *passed),
            seconds=seconds,
            source=self._source,
            tls=wanted.scheme.upper() == "HTTPS",
        )
        return await _followed(request)

    async def _grpc(self, wanted: Grpc) -> Answer:
        reader, writer = await self._connect("", wanted.port)
        connection = Connection(reader, writer, client=True)
        async with background(connection.run()):
            healthy = await _ask_health(connection, wanted.service, self._address)
            connection.close()
        return text(200, "serving") if healthy else text(500, "not serving")

    async def _connect(
        self, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        source = (self._source, 0) if self._source else None
        return await asyncio.open_connection(host or self._address, port, local_addr=source)


async def _followed(request: Request) -> Answer:
    for _ in range(redirects.LIMIT):
        async with fetch(request) as response:
            body = await response.text(_MAX_BODY)
            following = redirects.next_request(request, response.status, response.headers)
        if following is None:
            return Answer(response.status, body.encode())
        request = following
    message = f"stopped after {redirects.LIMIT} redirects"
    raise HttpError(message)


async def _ask_health(connection: Connection, service: str, authority: str) -> bool:
    headers = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    )
    # HealthCheckRequest has one field, a string by the number 1, as StringValue has.
    body = StringValue(value=service).SerializeToString()
    with contextlib.suppress(StreamLostError, MessageError):
        stream = await connection.open(headers)
        await stream.write(pack(body), end=True)
        return await _first_message(stream) == _SERVING
    return False


async def _first_message(stream: Stream) -> bytes:
    unpacker = Unpacker(_MAX_BODY)
    while data := await stream.read():
        for message in unpacker.feed(data):
            return message
    return b""
