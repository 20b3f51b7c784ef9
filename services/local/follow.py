"""Following: what discovery and config-push tell of the mesh, over the same gRPC as everyone.

Three streams: the mesh itself (what is asked for, as discovery accepted it), what is wrong with the
user's files, and the receipts of changes. A stream that ends is opened again after a short pause,
for ever: services may be killed and come back while the mesh runs on.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import grpc
import grpc.aio
from msgspec import Struct

from libs.api.problem import Problem, Severity
from libs.model import wire
from libs.model.ids import Ref
from libs.model.mesh import Key, Mesh, Table
from libs.pki import bundle, csr, files
from libs.protos.feed.v1 import feed_pb2, feed_pb2_grpc
from libs.protos.receipts.v1 import receipts_pb2, receipts_pb2_grpc
from libs.rpc import ca_client, channel
from libs.rpc.errors import NotReadyError
from libs.rpc.svid import Functions, Svid
from libs.rpc.tls import Material
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock
from libs.runtime.localmesh import Server

_PAUSE = Backoff(first=0.1, limit=2.0)


def operator(ca: ca_client.CaAddress, credentials: Path, clock: Clock) -> Svid:
    """Return the operator's certificate; each one is also written into `credentials`."""

    def write(material: Material) -> None:
        files.write_private(credentials / "key.pem", material.key)
        files.write_public(credentials / "cert-chain.pem", material.chain)
        files.write_public(credentials / "root-cert.pem", material.roots)

    functions = Functions(
        make_request=csr.make_with_key,
        validity=bundle.validity,
        sign=partial(ca_client.sign, ca),
    )
    svid = Svid(functions, clock=clock)
    svid.on_change(write)
    return svid


class Follower:
    """Opens the streams and keeps them open."""

    def __init__(self, svid: Svid, clock: Clock) -> None:
        self._svid = svid
        self._clock = clock

    async def mesh(self, server: Server, on_mesh: Callable[[Mesh], None]) -> None:
        """Call `on_mesh` with every new mesh."""
        assembly = _Assembly(on_mesh)

        async def once(open_channel: grpc.aio.Channel) -> None:
            request = feed_pb2.SubscribeRequest(subscriber="local", schema=wire.SCHEMA)
            stub = feed_pb2_grpc.MeshFeedStub(open_channel)
            async for update in stub.Subscribe(request):
                assembly.take(update)

        await self._forever(server, once)

    async def problems(
        self, server: Server, on_problems: Callable[[Sequence[Problem]], None]
    ) -> None:
        """Call `on_problems` with the whole list whenever it has changed."""

        async def once(open_channel: grpc.aio.Channel) -> None:
            stub = feed_pb2_grpc.MeshFeedStub(open_channel)
            async for found in stub.WatchProblems(feed_pb2.WatchProblemsRequest()):
                on_problems([_problem(item) for item in found.problems])

        await self._forever(server, once)

    async def receipts(
        self, server: Server, on_receipt: Callable[[receipts_pb2.Receipt], None]
    ) -> None:
        """Call `on_receipt` with each receipt as it progresses; old ones come again."""

        async def once(open_channel: grpc.aio.Channel) -> None:
            stub = receipts_pb2_grpc.ReceiptsStub(open_channel)
            async for receipt in stub.Watch(receipts_pb2.WatchRequest()):
                on_receipt(receipt)

        await self._forever(server, once)

    async def _forever(
        self, server: Server, once: Callable[[grpc.aio.Channel], Awaitable[None]]
    ) -> None:
        attempt = 0
        while True:
            started = self._clock.monotonic()
            async with self._channel(server) as open_channel:
                # If it is away, its supervisor says so.
                with contextlib.suppress(grpc.aio.AioRpcError, NotReadyError):
                    await once(open_channel)
            lived = self._clock.monotonic() - started
            attempt = 0 if lived > 1.0 else attempt + 1
            await self._clock.sleep(_PAUSE.delay(attempt, chance()))

    @asynccontextmanager
    async def _channel(self, server: Server) -> AsyncIterator[grpc.aio.Channel]:
        await self._svid.ready()
        credentials = self._svid.channel_credentials()
        async with channel.connect(
            server.grpc, credentials=credentials, server_name=server.server_name
        ) as opened:
            yield opened


class _Assembly:
    """Puts a mesh together from the messages of one subscription."""

    def __init__(self, on_mesh: Callable[[Mesh], None]) -> None:
        self._on_mesh = on_mesh
        self._mesh = Mesh()
        self._parts: list[feed_pb2.MeshUpdate] = []

    def take(self, update: feed_pb2.MeshUpdate) -> None:
        if update.sequence == 1:
            self._parts = []
        self._parts.append(update)
        if update.more:
            return
        parts, self._parts = self._parts, []
        before = Mesh() if parts[0].snapshot else self._mesh
        self._mesh = before.evolve(change for part in parts for change in _changes(part))
        self._on_mesh(self._mesh)


def _changes(update: feed_pb2.MeshUpdate) -> Iterator[tuple[Key, Struct | None]]:
    for gone in update.removed:
        yield _key(gone), None
    for row in update.rows:
        yield _key(row), wire.decode(Table(row.type), row.body)


def _key(row: feed_pb2.Row | feed_pb2.RowKey) -> Key:
    return Key(Table(row.type), row.key)


def _problem(found: feed_pb2.Problem) -> Problem:
    return Problem(
        ref=Ref(found.ref),
        path=found.path,
        reason=found.reason,
        text=found.text,
        severity=Severity(found.severity),
        file=found.file,
        line=found.line,
    )
