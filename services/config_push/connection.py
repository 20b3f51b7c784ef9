"""Connection: one ADS stream: its session, what waits to be written, and what it was offered.

What waits is bounded: one offer (a newer one replaces it, counted) and the answers to at most
MAX_ANSWERS requests; a proxy that asks on without reading is not read from until it has caught up.
What the session holds back until the proxy answers is one snapshot, and held for a bounded time.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from envoy.service.discovery.v3 import discovery_pb2
from msgspec import Struct

from libs.model.ids import SpiffeId
from libs.model.mesh import Mesh
from libs.model.settings import MeshSettings
from libs.model.workload import Workload
from libs.proxy import node
from libs.proxy.node import Proxy
from libs.runtime.clock import Clock
from libs.xds.stream.delta import DeltaSession
from libs.xds.stream.events import Event, Sent
from libs.xds.stream.sotw import SotwSession
from libs.xds.types import BOOTSTRAP, NAME_TABLE, SECRET, ResourceSet, Snapshot
from services.config_push import metrics
from services.config_push.errors import SlowReaderError

MAX_ANSWERS = 32

Write = Callable[[bytes], Awaitable[None]]
Request = discovery_pb2.DeltaDiscoveryRequest | discovery_pb2.DiscoveryRequest


class Offer(Struct, frozen=True):
    """What a proxy should have now."""

    snapshot: Snapshot
    push: int
    whole: bool  # False: only endpoints are of this push
    since: float  # monotonic seconds: when the change, or the proxy, arrived
    class_name: str
    digest: str


class Applied(Struct, frozen=True):
    """An offer was turned into responses, or some of it that was held; `events` say which."""

    offer: Offer
    events: tuple[Event, ...]
    held: bool = False  # more of it follows when the proxy has answered


class Peer:
    """Who is at the other end of a stream: what it proved, and what it says of itself."""

    def __init__(
        self,
        identity: SpiffeId,
        address: str,
        *,
        node_id: str,
        metadata: Mapping[str, object],
        trusted: frozenset[str] | None = None,
    ) -> None:
        """Take `trusted`: identifiers of the roots that it says it trusts; None if it says none."""
        self.trusted = trusted
        self.identity = identity
        self.address = address
        self.node_id = node_id
        self.metadata = metadata
        self._read: tuple[Workload | None, MeshSettings, Proxy] | None = None

    @property
    def proxy(self) -> Proxy | None:
        """The proxy as it was identified last."""
        return self._read[2] if self._read else None

    def identify(self, mesh: Mesh) -> Proxy:
        """Return the proxy as it stands in `mesh`; the same object while its workload is the same.

        Raises:
            NodeError: what it claims is not what it proved.

        """
        read = self._read
        if read is not None:
            workload, settings, known = read
            if mesh.workloads.get(known.workload) is workload and mesh.settings is settings:
                return known
        proxy = node.parse(self.node_id, self.metadata, self.identity, mesh)
        if read is not None and read[2] == proxy:
            proxy = read[2]
        self._read = (mesh.workloads.get(proxy.workload), mesh.settings, proxy)
        return proxy


class Connection:
    """One stream. All methods run on the event loop."""

    def __init__(
        self, number: int, peer: Peer, session: DeltaSession | SotwSession, *, clock: Clock
    ) -> None:
        self.number = number
        self.peer = peer
        self.session = session
        self.connected = clock.now()
        self.offered: Offer | None = None
        self.observe: Callable[[Applied | Event], None] = lambda _: None
        self._clock = clock
        self._waiting: Offer | None = None
        self._credentials: ResourceSet | None = None
        self._renewed = False  # the credentials, since they were last sent
        self._bodies: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._refusal: Exception | None = None
        self._applied: Offer | None = None
        self._since: float | None = None  # of the oldest change that is not all written yet
        self._holding = asyncio.Event()
        self._held_since = 0.0

    @property
    def proxy_id(self) -> str:
        """The name that people know the proxy by: `<pod>.<namespace>`."""
        return self.peer.node_id.split("~")[2]

    @property
    def of_agent(self) -> bool:
        """The stream is an agent's own: its Envoy has another, on which it asks for clusters first.

        An agent asks for names, for its bootstrap, or for who it is to a registry of images.
        """
        watched = self.session.watches.keys()
        return bool(watched) and watched <= {NAME_TABLE, BOOTSTRAP, SECRET}

    @property
    def before(self) -> Mapping[str, ResourceSet]:
        """The sets that it was offered last."""
        return self.offered.snapshot.sets if self.offered else {}

    @property
    def digest(self) -> str:
        """The class that it was last found to be of."""
        return self.offered.digest if self.offered else ""

    @property
    def class_name(self) -> str:
        """The same, for people."""
        return self.offered.class_name if self.offered else ""

    @property
    def behind(self) -> bool:
        """Whether something of what it was offered is not written yet."""
        return self._waiting is not None or bool(self._bodies)

    def offer(self, offer: Offer) -> None:
        """Let the proxy have `offer` as soon as it has read what came before."""
        if self._waiting is not None:
            metrics.COALESCED.inc()
            offer = _merged(self._waiting, offer)
        self._waiting = self.offered = offer
        self._wake.set()

    def offer_credentials(self, found: ResourceSet) -> None:
        """Let the proxy have `found` beside whatever it is offered; they are its own alone."""
        if self._credentials is None or self._credentials.version != found.version:
            self._credentials, self._renewed = found, True
            self._wake.set()

    def refuse(self, error: Exception) -> None:
        """End the stream with `error`."""
        self._refusal = error
        self._wake.set()

    async def on_request(self, request: Request) -> None:
        """Answer a request, once there is room for the answer.

        Raises:
            RequestError: the client asks for what it may not.

        """
        while len(self._bodies) >= MAX_ANSWERS:
            self._drained.clear()
            await self._drained.wait()
        held = self.session.held
        self._bodies.extend(self.session.on_request(request))  # type: ignore[arg-type]  # both are of one protocol
        self._report(held=held)
        if self._bodies:
            self._wake.set()

    async def write_all(self, write: Write, *, stall_seconds: float) -> None:
        """Write whatever there is to write, until cancelled.

        Raises:
            SlowReaderError: the proxy did not take a response in time.
            Exception: what `refuse` was given.

        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._refusal is not None:
                raise self._refusal
            await self._write_pending(write, stall_seconds)

    async def release_overdue(self, *, warming_seconds: float) -> None:
        """Send what is held for longer than `warming_seconds`, until cancelled."""
        while True:
            await self._holding.wait()
            left = self._held_since + warming_seconds - self._clock.monotonic()
            if left > 0:
                await self._clock.sleep(left)
            else:
                self._release()

    def _release(self) -> None:
        metrics.RELEASED.inc()
        self._bodies.extend(self.session.release())
        self._report(held=True)
        self._held_since = self._clock.monotonic()
        self._wake.set()

    async def _write_pending(self, write: Write, stall_seconds: float) -> None:
        while self._bodies or self._waiting is not None or self._renewed:
            if not self._bodies:
                self._apply()
            while self._bodies:
                await self._write(write, stall_seconds)
            if self._since is not None and not self.session.held:
                metrics.CONVERGENCE.observe(self._clock.monotonic() - self._since)
                self._since = None

    def _apply(self) -> None:
        offer, self._waiting = self._waiting, None
        self._renewed = False
        if offer is None:
            if self.offered is not None:  # only credentials have moved
                held = self.session.held
                self._turn_to(self.offered)
                self._report(held=held)
            return
        self._applied = offer
        self._since = offer.since if self._since is None else min(self._since, offer.since)
        self._turn_to(offer)
        self._note_hold()
        self.observe(Applied(offer, tuple(self.session.take_events()), self.session.held))

    def _turn_to(self, offer: Offer) -> None:
        snapshot = offer.snapshot
        if self._credentials is not None:
            snapshot = Snapshot({**snapshot.sets, SECRET: self._credentials})
        self._bodies.extend(self.session.on_snapshot(snapshot, offer.push))

    async def _write(self, write: Write, stall_seconds: float) -> None:
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(stall_seconds):
                await write(self._bodies[0])
        except TimeoutError as error:
            metrics.WRITE_TIMEOUTS.inc()
            message = "the proxy does not read"
            raise SlowReaderError(message) from error
        self._bodies.popleft()
        self._drained.set()
        metrics.SEND_TIME.observe(self._clock.monotonic() - started)

    def _report(self, *, held: bool) -> None:
        """Report what happened; if something was held before, responses may be of that offer."""
        self._note_hold()
        events = self.session.take_events()
        if not held or self._applied is None:
            for event in events:
                self.observe(event)
            return
        for event in events:
            if not isinstance(event, Sent):
                self.observe(event)
        sent = tuple(event for event in events if isinstance(event, Sent))
        self.observe(Applied(self._applied, sent, self.session.held))

    def _note_hold(self) -> None:
        if not self.session.held:
            self._holding.clear()
        elif not self._holding.is_set():
            self._held_since = self._clock.monotonic()
            self._holding.set()


def _merged(old: Offer, new: Offer) -> Offer:
    """The newer offer was made from the older one, so it contains it; the change is as old."""
    return Offer(
        new.snapshot,
        new.push,
        whole=old.whole or new.whole,
        since=min(old.since, new.since),
        class_name=new.class_name,
        digest=new.digest,
    )
