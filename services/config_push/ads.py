"""ADS: the gRPC side of streams, both protocols. Bytes in, bytes out.

A stream goes through: is there a mesh to serve; who calls; the first request with its node, in
time; then requests are read and responses written side by side until either ends. Identity comes
from the call's credential; the node is what the first request says: later ones cannot change it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import grpc
import grpc.aio
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct as ProtoStruct
from msgspec import Struct

from libs.kube.errors import KubeError, TokenRefusedError
from libs.model.ids import SpiffeId
from libs.pki.errors import TokenError
from libs.protos.machines.v1.machines_pb2 import Machine
from libs.proxy.errors import NodeError
from libs.rpc import peer, writing
from libs.rpc.errors import CredentialError
from libs.rpc.peer import Context
from libs.runtime.clock import Clock
from libs.runtime.tasks import background, leaves
from libs.xds.stream.delta import DeltaSession
from libs.xds.stream.errors import LimitExceededError, MalformedRequestError, RequestError
from libs.xds.stream.events import Acked, Event, Nacked, Sent, Stale
from libs.xds.stream.limits import Limits, check_node
from libs.xds.stream.sotw import SotwSession
from libs.xds.types import SECRET
from services.config_push import asking, machines, metrics, trust
from services.config_push.authn import Authenticate
from services.config_push.connection import Applied, Connection, Peer, Request
from services.config_push.debug import DebugPages
from services.config_push.errors import (
    CrowdedError,
    DeniedError,
    ProtocolError,
    SlowReaderError,
    StreamError,
    UnsyncedError,
)
from services.config_push.plane import Plane

logger = logging.getLogger(__name__)

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
MAX_METADATA_VALUE = 4096

_CODES: tuple[tuple[type[BaseException], grpc.StatusCode], ...] = (
    (UnsyncedError, grpc.StatusCode.UNAVAILABLE),
    (SlowReaderError, grpc.StatusCode.UNAVAILABLE),
    (CrowdedError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (LimitExceededError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (DeniedError, grpc.StatusCode.PERMISSION_DENIED),
    (NodeError, grpc.StatusCode.PERMISSION_DENIED),
    (CredentialError, grpc.StatusCode.UNAUTHENTICATED),
    (TokenError, grpc.StatusCode.UNAUTHENTICATED),
    (TokenRefusedError, grpc.StatusCode.UNAUTHENTICATED),
    (KubeError, grpc.StatusCode.UNAVAILABLE),  # nobody can say now whether the token is good
    (MalformedRequestError, grpc.StatusCode.INVALID_ARGUMENT),
    (ProtocolError, grpc.StatusCode.INVALID_ARGUMENT),
)
_EXPLAINED = (StreamError, RequestError, NodeError)  # the proxy is told why


class StreamLimits(Struct, frozen=True, kw_only=True):
    """Bounds of one stream and of their number. Times in seconds."""

    streams: int
    first_request: float
    stall: float
    warming: float = 5.0
    session: Limits = Limits()


class AdsService:
    """Serves streams on one port, by one way of authentication."""

    def __init__(
        self,
        plane: Plane,
        authenticate: Authenticate,
        *,
        limits: StreamLimits,
        clock: Clock,
        pages: DebugPages | None = None,
    ) -> None:
        """Answer questions for debug pages as well, if there are `pages`."""
        self._plane = plane
        self._pages = pages
        self._authenticate = authenticate
        self._limits = limits
        self._listening = 0  # streams on which an agent tells of its workload
        self._ending = 0  # streams that were told why they end, and have not read it yet
        self._clock = clock

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        handlers: dict[str, Any] = {
            "DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(self._delta),
            "StreamAggregatedResources": grpc.stream_stream_rpc_method_handler(self._sotw),
        }
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])

    async def _delta(self, requests: AsyncIterator[bytes], context: Context) -> None:
        session = DeltaSession(self._plane.responses, self._limits.session)
        decode = discovery_pb2.DeltaDiscoveryRequest.FromString
        await self._mapped(self._serve(_decoded(requests, decode), session, context), context)

    async def _sotw(self, requests: AsyncIterator[bytes], context: Context) -> None:
        session = SotwSession(self._plane.responses, self._limits.session)
        decode = discovery_pb2.DiscoveryRequest.FromString
        await self._mapped(self._serve(_decoded(requests, decode), session, context), context)

    async def _mapped(self, work: Any, context: Context) -> None:  # noqa: ANN401  # a coroutine
        try:
            with writing.ends_when_gone():
                await work
        except Exception as error:  # one bad stream must not end the process
            code, text = _status(error)
            if code is grpc.StatusCode.INTERNAL:
                metrics.INTERNAL_ERRORS.inc()
                logger.exception("stream failed")
            metrics.REFUSED_STREAMS.labels(reason=code.name.lower()).inc()
            self._ending += 1
            try:
                # Waits behind whatever the proxy has not read, at most until its connection ends.
                await context.abort(code, text)
            finally:
                self._ending -= 1

    async def _serve(
        self,
        requests: AsyncIterator[Request],
        session: DeltaSession | SotwSession,
        context: Context,
    ) -> None:
        self._check_room()
        write = partial(writing.write, context)
        identity = await self._authenticate(context)
        first = await self._first(requests)
        if first.type_url in asking.TYPES and self._pages is not None:
            everything = _preceded(first, requests)
            await asking.answer(everything, write, pages=self._pages, reader=identity)
            return
        caller = self._peer(first, identity, context)
        machine = machines.described(first.node, caller.proxy, self._clock.now())
        if first.type_url == machines.HEALTH:
            await self._listen(_preceded(first, requests), caller, machine)
            return
        connection = Connection(
            self._plane.connections.next_number(), caller, session, clock=self._clock
        )
        # Before anything else: a status cannot follow a first write that is cut off.
        await context.send_initial_metadata(())
        with self._registered(connection), self._plane.machines.connected(machine):
            sending = connection.write_all(write, stall_seconds=self._limits.stall)
            releasing = connection.release_overdue(warming_seconds=self._limits.warming)
            async with background(sending), background(releasing):
                await connection.on_request(first)
                self._plane.connect(connection)
                async for request in requests:
                    _check_same_node(request, caller)
                    if request.type_url == machines.HEALTH:
                        self._plane.machines.hear(machine, request)
                        continue
                    await connection.on_request(request)
                    if request.type_url == SECRET:
                        self._plane.look_for_credentials(connection)

    async def _listen(
        self, requests: AsyncIterator[Request], caller: Peer, machine: Machine | None
    ) -> None:
        """Hear what an agent says of its workload, on a stream of its own, until that ends."""
        if machine is None:
            message = "only machines that register by a WorkloadGroup tell of their health"
            raise ProtocolError(message)
        self._listening += 1
        try:
            with self._plane.machines.connected(machine):
                async for request in requests:
                    _check_same_node(request, caller)
                    if request.type_url == machines.HEALTH:
                        self._plane.machines.hear(machine, request)
        finally:
            self._listening -= 1

    def _check_room(self) -> None:
        if self._plane.mesh is None:
            message = "there is no mesh to serve yet"
            raise UnsyncedError(message)
        taken = len(self._plane.connections) + self._listening + self._ending
        if taken >= self._limits.streams:
            message = "too many proxies are connected to this replica"
            raise CrowdedError(message)

    async def _first(self, requests: AsyncIterator[Request]) -> Request:
        try:
            async with asyncio.timeout(self._limits.first_request):
                return await anext(requests)
        except TimeoutError as error:
            message = "no request came in time"
            raise ProtocolError(message) from error
        except StopAsyncIteration as error:
            message = "the stream ended before its first request"
            raise ProtocolError(message) from error

    def _peer(self, first: Request, identity: SpiffeId, context: Context) -> Peer:
        check_node(self._limits.session, first.node.id, first.node.metadata)
        metadata = _known(first.node.metadata)
        caller = Peer(
            identity,
            peer.address(context),
            node_id=first.node.id,
            metadata=metadata,
            trusted=trust.said(context),
        )
        mesh = self._plane.mesh
        if mesh is not None:
            caller.identify(mesh)
        return caller

    @contextmanager
    def _registered(self, connection: Connection) -> Iterator[None]:
        connection.observe = lambda what: self._observe(connection, what)
        self._plane.connections.add(connection)
        version = str(connection.peer.metadata.get("ISTIO_VERSION", "unknown"))[:32]
        connected = metrics.CONNECTED.labels(version=metrics.version_label(version))
        logger.info("proxy connected", extra=_fields(connection))
        connected.inc()
        try:
            yield
        finally:
            connected.dec()
            self._plane.connections.remove(connection)
            self._plane.disconnect(connection)
            logger.info("proxy disconnected", extra=_fields(connection))

    def _observe(self, connection: Connection, what: Applied | Event) -> None:
        for event in what.events if isinstance(what, Applied) else (what,):
            _count(connection, event)
        self._plane.observe(connection, what)


def _count(connection: Connection, event: Event) -> None:
    match event:
        case Sent():
            metrics.PUSHES_OF[event.type_url].inc()
            metrics.CONFIG_SIZE_OF[event.type_url].observe(event.size)
        case Nacked():
            name = metrics.type_name(event.type_url)
            metrics.REJECTS.labels(type=name).inc()
            if event.type_url in metrics.TYPE_REJECTS:
                metrics.TYPE_REJECTS[event.type_url].inc()
            logger.warning(
                "proxy refused configuration",
                extra={
                    **_fields(connection),
                    "type": name,
                    "nonce": event.nonce,
                    "text": event.text,
                    "resources": list(event.resources[:10]),
                    "sources": list(event.sources[:10]),
                },
            )
        case Stale():
            metrics.EXPIRED_NONCES.labels(type=metrics.type_name(event.type_url)).inc()
        case Acked():
            pass


def _fields(connection: Connection) -> dict[str, object]:
    return {
        "proxy": connection.proxy_id,
        "connection": connection.number,
        "identity": str(connection.peer.identity),
    }


async def _preceded(first: Request, others: AsyncIterator[Request]) -> AsyncIterator[Request]:
    yield first
    async for request in others:
        yield request


async def _decoded(
    requests: AsyncIterator[bytes], decode: Callable[[bytes], Request]
) -> AsyncIterator[Request]:
    async for body in requests:
        metrics.note_request(len(body))
        try:
            yield decode(body)
        except DecodeError as error:
            message = "not a discovery request"
            raise ProtocolError(message) from error


def _known(metadata: ProtoStruct) -> Mapping[str, object]:
    """Return what of a node's metadata is worth keeping for the life of its stream: short texts."""
    kept: dict[str, object] = {}
    for name, value in metadata.fields.items():
        if value.WhichOneof("kind") == "string_value":
            if len(value.string_value) <= MAX_METADATA_VALUE:
                kept[name] = value.string_value
        elif name == "LABELS" and value.WhichOneof("kind") == "struct_value":
            kept[name] = {
                key: label.string_value for key, label in value.struct_value.fields.items()
            }
    return kept


def _check_same_node(request: Request, caller: Peer) -> None:
    if request.node.id and request.node.id != caller.node_id:
        message = "a stream belongs to one node"
        raise DeniedError(message)


def _status(error: Exception) -> tuple[grpc.StatusCode, str]:
    """Return how a stream ends; nothing is said about credentials, and nothing of our own bugs."""
    for leaf in leaves(error):
        for kind, code in _CODES:
            if isinstance(leaf, kind):
                return code, str(leaf) if isinstance(leaf, _EXPLAINED) else "not authenticated"
    return grpc.StatusCode.INTERNAL, "internal error"
