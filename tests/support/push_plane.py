"""config-push without its ports: a plane behind ADS on a Unix socket, and proxies that connect.

The caller's identity is what its `test-identity` header says: credentials are tested elsewhere.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
from envoy.config.core.v3 import base_pb2

from libs.model.delta import Delta
from libs.model.ids import Ref, SpiffeId, parse_spiffe_id
from libs.model.mesh import Key, Mesh
from libs.protos.receipts.v1.receipts_pb2 import Receipt
from libs.rpc import server
from libs.rpc.errors import CredentialError
from libs.rpc.limits import Limits as ServerLimits
from libs.rpc.peer import Context
from libs.rpc.server import Port
from libs.runtime.clock import SystemClock
from libs.runtime.tasks import background
from libs.xds.generate import GENERATORS
from libs.xds.stream.limits import Limits
from services.config_push.ads import SERVICE, AdsService, StreamLimits
from services.config_push.authn import Authenticate
from services.config_push.classes import Generator
from services.config_push.plane import Plane
from services.config_push.push import InlineWorker, Shared, ThreadWorker
from tests.support.xds_client import DeltaClient, Verdict, accept

PATIENCE = 60.0
"""Seconds that a test waits for what has to come."""
LIMITS = StreamLimits(streams=2000, first_request=PATIENCE, stall=PATIENCE, session=Limits())
"""Far beyond what a busy machine needs: a test of a deadline sets its own."""
ChannelOptions = Sequence[tuple[str, int]]
NO_LIMITS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


async def identity_from_header(context: Context) -> SpiffeId:
    """Believe the header."""
    for name, value in context.invocation_metadata() or ():
        if name == "test-identity":
            return parse_spiffe_id(str(value))
    message = "no identity"
    raise CredentialError(message)


def identity(namespace: str = "shop", account: str = "default") -> SpiffeId:
    return SpiffeId("cluster.local", namespace, account)


def node(name: str = "client", namespace: str = "shop", **metadata: str) -> base_pb2.Node:
    """Return the node of a sidecar."""
    made = base_pb2.Node(id=f"sidecar~10.244.0.9~{name}.{namespace}~{namespace}.svc.cluster.local")
    for key, value in {"NAMESPACE": namespace, **metadata}.items():
        made.metadata.fields[key].string_value = value
    return made


class RunningPlane:
    """A plane and the mesh that it serves."""

    def __init__(self, plane: Plane, socket: Path) -> None:
        self.plane = plane
        self.address = f"unix:{socket}"
        self.mesh = Mesh()
        self.changes = 0

    def change(self, mesh: Mesh, *causes: str) -> Delta:
        """Serve `mesh`, as if discovery had sent it."""
        self.changes += 1
        delta = Delta(
            changed=frozenset(_moved(self.mesh, mesh)),
            removed=frozenset(_moved(self.mesh, mesh, gone=True)),
            causes=tuple(Ref(cause) for cause in causes),
            change=self.changes,
            observed=SystemClock().now(),
        )
        self.mesh = mesh
        self.plane.change(mesh, delta)
        return delta

    @asynccontextmanager
    async def proxy(
        self,
        name: str = "client",
        namespace: str = "shop",
        *,
        options: ChannelOptions = (),
        **metadata: str,
    ) -> AsyncIterator["ConnectedProxy"]:
        """Connect a proxy that proves the namespace in which it is."""
        client = DeltaClient(node(name, namespace, **metadata), follow_clusters=True)
        async with self.stream(client, identity(namespace), options=options) as connected:
            yield connected

    @asynccontextmanager
    async def stream(
        self, client: DeltaClient, proved: SpiffeId | None, *, options: ChannelOptions = ()
    ) -> AsyncIterator["ConnectedProxy"]:
        options = [*NO_LIMITS, *options]
        async with grpc.aio.insecure_channel(self.address, options=options) as channel:
            metadata = [("test-identity", str(proved))] if proved else []
            connected = ConnectedProxy(client, channel, metadata=metadata)
            try:
                yield connected
            finally:
                connected.call.cancel()

    async def receipt(self, change: int, *, seconds: float = PATIENCE) -> Receipt:
        """Return the receipt of a change once it is settled."""
        following = contextlib.aclosing(self.plane.book.follow())
        async with asyncio.timeout(seconds), following as moving:
            async for receipt in moving:
                if receipt.change == change and receipt.settled:
                    return receipt
        raise AssertionError


class ConnectedProxy:
    """One stream, driven by the test."""

    def __init__(
        self,
        client: DeltaClient,
        channel: grpc.aio.Channel,
        *,
        metadata: list[tuple[str, str]],
    ) -> None:
        self.client = client
        method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            f"/{SERVICE}/DeltaAggregatedResources"
        )
        self.call = method(metadata=metadata)

    async def send(self, *requests: object) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for request in requests:  # once the stream has ended, reading says how
                await self.call.write(request.SerializeToString())  # type: ignore[attr-defined]

    async def receive(self, verdict: Verdict = accept) -> bytes:
        """Read one response and say `verdict` to it."""
        body = await self.read()
        await self.send(*self.client.on_response(body, verdict))
        return body

    async def read(self, seconds: float = PATIENCE) -> bytes:
        """Read one response and say nothing."""
        try:
            async with asyncio.timeout(seconds):
                body = await self.call.read()
        except grpc.aio.AioRpcError as error:
            raise EndedError(error.code(), error.details()) from error
        if not isinstance(body, bytes):
            raise EndedError(await self.call.code(), await self.call.details())
        return body

    async def until(
        self, reached: Callable[[DeltaClient], bool], verdict: Verdict = accept
    ) -> None:
        """Read and answer until the client is as it should be."""
        while not reached(self.client):
            await self.receive(verdict)

    async def ended(self) -> grpc.StatusCode:
        """Return how the server ends the stream."""
        with contextlib.suppress(EndedError):
            while True:
                await self.read()
        return await self.call.code()


class EndedError(Exception):
    """The server has ended the stream."""


def _moved(before: Mesh, after: Mesh, *, gone: bool = False) -> Iterator[Key]:
    for table in {*before.tables, *after.tables}:
        old, new = before.rows(table), after.rows(table)
        if gone:
            yield from (Key(table, key) for key in old.keys() - new.keys())
        else:
            yield from (Key(table, key) for key, row in new.items() if old.get(key) is not row)


@asynccontextmanager
async def running_plane(
    folder: Path,
    *,
    limits: StreamLimits = LIMITS,
    server_limits: ServerLimits | None = None,
    threaded: bool = False,
    generators: Mapping[str, Generator] = GENERATORS,
    authenticate: Authenticate = identity_from_header,
    shared: Shared | None = None,
) -> AsyncIterator[RunningPlane]:
    """Run a plane with an empty mesh that has not been served yet."""
    clock = SystemClock()
    worker = ThreadWorker() if threaded else InlineWorker()
    plane = Plane(generators, clock=clock, worker=worker, shared=shared)
    ads = AdsService(plane, authenticate, limits=limits, clock=clock)
    socket = folder / "xds.sock"
    try:
        async with (
            background(plane.pusher.run(), plane.findings.run()),
            server.running([ads.register], Port(f"unix:{socket}"), limits=server_limits),
        ):
            yield RunningPlane(plane, socket)
    finally:
        if isinstance(worker, ThreadWorker):
            worker.close()
