"""A control plane for one Envoy: real xDS sessions over gRPC on a Unix socket, and SDS beside it.

SDS is what an agent would serve: the workload's certificate and roots, and files that are named.

What it serves is a `Snapshot` that the test exchanges; what Envoy refuses is kept.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.discovery.v3 import discovery_pb2

from libs.xds.stream.delta import DeltaSession
from libs.xds.stream.events import Acked, Nacked
from libs.xds.stream.responses import Responses
from libs.xds.stream.sotw import SotwSession
from libs.xds.types import (
    EXTENSION,
    SECRET,
    NamedResource,
    ResourceSet,
    Snapshot,
    resource,
    resource_set,
)
from services.agent.files import FileSecrets
from services.agent.secrets import Secrets
from tests.support.certificates import Certificate

_ADS = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_SECONDS = 60
_SDS = "envoy.service.secret.v3.SecretDiscoveryService"


class ControlPlane:
    """Serves one snapshot to whoever connects."""

    def __init__(self, certificate: Certificate, *, gated: bool = True) -> None:
        self._gated = gated
        self._own = secrets(certificate)
        self._found = Secrets()
        self._files = FileSecrets(self._found)
        self._snapshot = Snapshot({})
        self._push = 0
        self._streams: set[tuple[DeltaSession | SotwSession, asyncio.Queue[bytes]]] = set()
        self._responses = Responses()
        self.refused: list[str] = []
        self.heard: set[str] = set()
        """Types about which somebody has ever said that they are good, or bad."""
        self._changed = asyncio.Event()
        self._answered: set[str] = set()

    def serve(self, snapshot: Snapshot) -> list[str]:
        """Serve `snapshot` from now on; return the types that an Envoy has to answer for."""
        self._push += 1
        before, self._snapshot = self._snapshot, snapshot
        for session, outbox in self._streams:
            for body in session.on_snapshot(snapshot, self._push):
                outbox.put_nowait(body)
        changed = [
            url
            for url in snapshot.sets
            if _versions(before.of(url)) != _versions(snapshot.of(url))
            and (url != EXTENSION or self._fetched(snapshot.of(url).resources))
        ]
        self._answered.difference_update(changed)
        return changed

    def version(self, type_url: str, name: str) -> str:
        """Return the version of a resource that is served."""
        return self._snapshot.of(type_url).resources[name].version

    def _fetched(self, extensions: Collection[str]) -> bool:
        """Tell whether any of `extensions` is asked for: only by filters that are there already."""
        watches = (session.watches.get(EXTENSION) for session, _ in self._streams)
        return any(watch and any(map(watch.wanted.covers, extensions)) for watch in watches)

    async def settled(self, type_urls: Iterable[str]) -> None:
        """Wait until Envoy answered for all of `type_urls`; refusals are answers, too."""
        while not self._answered.issuperset(type_urls):
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), _SECONDS)

    async def quiet(self) -> None:
        """Wait until nothing is held on any stream and every response is answered."""
        while any(_unfinished(session) for session, _ in self._streams):
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), _SECONDS)

    @property
    def held(self) -> bool:
        """Whether something waits on a stream for what Envoy answers."""
        return any(session.held for session, _ in self._streams)

    def release(self) -> None:
        """Send what waits, as config-push does after a time."""
        for session, outbox in self._streams:
            for body in session.release():
                outbox.put_nowait(body)

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return what a gRPC server has to know."""
        return (
            _handler(_ADS, "DeltaAggregatedResources", self._delta),
            _handler(_ADS, "StreamAggregatedResources", self._whole),
            _handler(_SDS, "StreamSecrets", self._stream_secrets),
        )

    async def _delta(
        self, requests: AsyncIterator[bytes], _context: object
    ) -> AsyncIterator[bytes]:
        session = DeltaSession(self._responses, gated=self._gated)
        async for body in self._stream(requests, session):
            yield body

    async def _whole(
        self, requests: AsyncIterator[bytes], _context: object
    ) -> AsyncIterator[bytes]:
        session = SotwSession(self._responses, gated=self._gated)
        async for body in self._stream(requests, session):
            yield body

    async def _stream(
        self, requests: AsyncIterator[bytes], session: DeltaSession | SotwSession
    ) -> AsyncIterator[bytes]:
        outbox: asyncio.Queue[bytes] = asyncio.Queue()
        stream = (session, outbox)
        self._streams.add(stream)
        session.on_snapshot(self._snapshot, self._push)
        try:
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._read(requests, session, outbox))
                while not reader.done():
                    next_body = tasks.create_task(outbox.get())
                    await asyncio.wait({reader, next_body}, return_when=asyncio.FIRST_COMPLETED)
                    if next_body.done():
                        yield next_body.result()
                    else:
                        next_body.cancel()
        except asyncio.CancelledError:
            return  # Envoy has gone
        finally:
            self._streams.discard(stream)

    async def _read(
        self,
        requests: AsyncIterator[bytes],
        session: DeltaSession | SotwSession,
        outbox: asyncio.Queue[bytes],
    ) -> None:
        async for body in requests:
            for answer in _answers(session, body):
                outbox.put_nowait(answer)
            for event in session.take_events():
                self._note(event)

    def _note(self, event: object) -> None:
        if isinstance(event, Nacked):
            self.refused.append(event.text)
        if isinstance(event, Acked | Nacked):
            self._answered.add(event.type_url)
            self.heard.add(event.type_url)
            self._changed.set()

    async def _stream_secrets(
        self, requests: AsyncIterator[bytes], _context: object
    ) -> AsyncIterator[bytes]:
        session = SotwSession(Responses())
        try:
            async for body in requests:
                request = discovery_pb2.DiscoveryRequest.FromString(body)
                answers = session.on_snapshot(self._secrets(request.resource_names), 1)
                for answer in (*answers, *session.on_request(request)):
                    yield answer
        except asyncio.CancelledError:
            return  # Envoy has gone

    def _secrets(self, names: Iterable[str]) -> Snapshot:
        """Return the workload's own secrets, and those in files that are asked for by name."""
        found = [*self._own]
        for name in names:
            self._files.subscribe(name)
            read = self._found.get(name)
            if read is not None:
                found.append(resource(name, SECRET, body=read.body))
        return Snapshot({SECRET: resource_set(SECRET, found)})


def _answers(session: DeltaSession | SotwSession, body: bytes) -> list[bytes]:
    if isinstance(session, DeltaSession):
        return session.on_request(discovery_pb2.DeltaDiscoveryRequest.FromString(body))
    return session.on_request(discovery_pb2.DiscoveryRequest.FromString(body))


def _versions(items: ResourceSet) -> dict[str, str]:
    """Return versions by name; that of a set also says of which parts it was made."""
    return {name: item.version for name, item in items.resources.items()}


def _unfinished(session: DeltaSession | SotwSession) -> bool:
    return session.held or any(watch.ledger.waiting for watch in session.watches.values())


def secrets(certificate: Certificate) -> list[NamedResource]:
    """Return the two secrets that a workload's agent serves."""
    own = secret_pb2.Secret(name="default")
    own.tls_certificate.certificate_chain.inline_bytes = certificate.chain
    own.tls_certificate.private_key.inline_bytes = certificate.key
    roots = secret_pb2.Secret(name="ROOTCA")
    roots.validation_context.trusted_ca.inline_bytes = certificate.roots
    return [resource(one.name, SECRET, body=one.SerializeToString()) for one in (own, roots)]


def _handler(
    service: str, method: str, behaviour: Callable[..., AsyncIterator[bytes]]
) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        service, {method: grpc.stream_stream_rpc_method_handler(behaviour)}
    )


@asynccontextmanager
async def serving(plane: ControlPlane, socket: Path) -> AsyncIterator[None]:
    """Run `plane` on a Unix socket."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(plane.handlers())
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)
