"""The push loop: from a changed mesh, or a new proxy, to what each proxy is offered.

The loop owns time. A lone change starts a round at once; changes that arrive while a round is being
made are merged into the next one. In a round each proxy that is connected waits in the queue until
its share is made. Shares are made in batches of about BATCH_SECONDS by one worker away from the
event loop, so that new proxies and endpoints overtake configuration between batches, and streams
are served meanwhile. What the worker remembers is touched by nobody else.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol, TypeVar

from msgspec import Struct

from libs.model.delta import Delta
from libs.model.mesh import Mesh, Table
from libs.proxy.node import Proxy
from libs.runtime.clock import Clock
from libs.xds.types import ResourceSet, Snapshot
from services.config_push import metrics
from services.config_push.classes import Classes, Made, SetKey, Want
from services.config_push.connection import Connection, Offer
from services.config_push.connections import Connections
from services.config_push.errors import DeniedError
from services.config_push.queue import Entry, Lane, PushQueue

logger = logging.getLogger(__name__)

BATCH = 32  # proxies; each of them writes in the turn after
BATCH_SECONDS = 0.05
_ENDPOINT_TABLES = frozenset({Table.ENDPOINTS, Table.WORKLOAD})

T = TypeVar("T")


class Worker(Protocol):
    """Runs one piece of work after the other."""

    async def __call__(self, work: Callable[[], T]) -> T:
        """Return what `work` returns."""
        ...


class Round(Struct, frozen=True):
    """One push: a mesh and the changes that led to it."""

    push: int
    mesh: Mesh
    changes: tuple[Delta, ...]
    tables: frozenset[Table]
    since: float  # monotonic seconds at which the first of its changes arrived

    @property
    def lane(self) -> Lane:
        """Where proxies wait for it: whose class turns out to differ goes on to configuration."""
        return Lane.ENDPOINTS if self.tables <= _ENDPOINT_TABLES else Lane.CONFIGURATION


class Shared(Protocol):
    """Sets of resources that other replicas, or an earlier life, have generated."""

    async def fetch(self, keys: Sequence[SetKey]) -> list[tuple[SetKey, bytes]]:
        """Return those that are there in time."""
        ...

    def offer(self, fresh: Sequence[tuple[SetKey, ResourceSet]]) -> None:
        """Let others have what was generated here."""
        ...


class NotShared:
    """No other replicas."""

    async def fetch(self, keys: Sequence[SetKey]) -> list[tuple[SetKey, bytes]]:
        """Return nothing."""
        return []

    def offer(self, fresh: Sequence[tuple[SetKey, ResourceSet]]) -> None:
        """Keep it to ourselves."""


class Pusher:
    """Decides who is offered what, and when."""

    def __init__(
        self,
        connections: Connections,
        classes: Classes,
        *,
        clock: Clock,
        worker: Worker,
        on_round: Callable[[Round], None],
        shared: Shared | None = None,
    ) -> None:
        self._connections = connections
        self._classes = classes
        self._clock = clock
        self._worker = worker
        self._shared = shared or NotShared()
        self._on_round = on_round
        self._queue = PushQueue()
        self._round: Round | None = None
        self._gone: list[Proxy] = []
        self._next: list[tuple[Mesh, Delta, float]] = []
        self._wake = asyncio.Event()

    @property
    def round(self) -> Round | None:
        """The latest round."""
        return self._round

    @property
    def waiting(self) -> int:
        """Proxies in the queue."""
        return len(self._queue)

    def on_change(self, mesh: Mesh, delta: Delta) -> None:
        """Push `mesh` to everyone whom it concerns."""
        metrics.note_update(delta)
        self._next.append((mesh, delta, self._clock.monotonic()))
        self._wake.set()

    def on_connect(self, connection: Connection) -> None:
        """Let a new proxy have everything."""
        self._queue.add(Entry(connection.number, Lane.NEW, self._clock.monotonic()))
        self._wake.set()

    def on_disconnect(self, connection: Connection) -> None:
        """Forget a proxy."""
        self._queue.remove(connection.number)
        if connection.peer.proxy is not None:
            self._gone.append(connection.peer.proxy)
            self._wake.set()

    async def run(self) -> None:
        """Push until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._begin_round()
            if self._gone:
                gone, self._gone = self._gone, []
                await self._worker(partial(self._classes.forget, gone))
            while self._round is not None and len(self._queue):
                await self._make_batch(self._round)
                self._begin_round()

    def _begin_round(self) -> None:
        if not self._next:
            return
        arrived, self._next = self._next, []
        mesh = arrived[-1][0]
        tables = frozenset[Table]().union(*(delta.tables for _, delta, _ in arrived))
        changes = tuple(delta for _, delta, _ in arrived if delta)
        number = self._round.push + 1 if self._round else 1
        self._round = Round(number, mesh, changes, tables, since=arrived[0][2])
        metrics.DEBOUNCE.observe(self._clock.monotonic() - self._round.since)
        self._enqueue(self._round)
        self._on_round(self._round)

    def _enqueue(self, round_: Round) -> None:
        lane = round_.lane
        trigger = "endpoint" if lane is Lane.ENDPOINTS else "config"
        metrics.PUSH_TRIGGERS.labels(type=trigger).inc()
        for connection in self._connections:
            entry = Entry(connection.number, lane, round_.since, round_.tables)
            self._queue.add(entry)

    async def _make_batch(self, round_: Round) -> None:
        entries = {entry.connection: entry for entry in self._queue.take(BATCH)}
        wants = [
            self._want(self._connections[number], entry)
            for number, entry in entries.items()
            if number in self._connections
        ]
        if wants and wants[0].lane is Lane.NEW:
            await self._learn(round_, wants)
        made, fresh = await self._worker(partial(self._make, round_.mesh, wants))
        self._queue.put_back([entries[want.connection] for want in wants[len(made) :]])
        for one in made:
            self._deliver(one, entries[one.connection], round_)
        self._shared.offer(fresh)

    async def _learn(self, round_: Round, wants: list[Want]) -> None:
        """Look for what others have made. Only for new proxies: a change never waits for that."""
        keys = await self._worker(partial(self._missing, round_.mesh, wants))
        found = await self._shared.fetch(keys) if keys else []
        if found:
            await self._worker(partial(self._classes.learn, found))

    def _missing(self, mesh: Mesh, wants: list[Want]) -> list[SetKey]:
        keys = (key for want in wants for key in self._classes.missing(mesh, want))
        return list(dict.fromkeys(keys))

    def _want(self, connection: Connection, entry: Entry) -> Want:
        metrics.QUEUE_TIME.observe(self._clock.monotonic() - entry.since)
        return Want(
            connection=connection.number,
            lane=entry.lane,
            identify=connection.peer.identify,
            tables=entry.tables,
            digest=connection.digest,
            before=connection.before,
        )

    def _make(
        self, mesh: Mesh, wants: list[Want]
    ) -> tuple[list[Made], list[tuple[SetKey, ResourceSet]]]:
        """Make as many as BATCH_SECONDS allow, at least one. Runs in the worker."""
        started = self._clock.monotonic()
        made: list[Made] = []
        for want in wants:
            made.append(self._classes.make(mesh, want))
            if self._clock.monotonic() - started > BATCH_SECONDS:
                break
        metrics.PUSH_TIME.observe(self._clock.monotonic() - started)
        return made, self._classes.take_fresh()

    def _deliver(self, made: Made, entry: Entry, round_: Round) -> None:
        connection = self._connections.get(made.connection)
        if connection is None:
            return
        if made.refusal:
            connection.refuse(DeniedError(made.refusal))
            return
        if not made.whole:
            self._queue.add(Entry(made.connection, Lane.CONFIGURATION, entry.since, entry.tables))
        connection.offer(
            Offer(
                Snapshot(made.sets),
                round_.push,
                whole=made.whole,
                since=entry.since,
                class_name=made.name,
                digest=made.digest if made.whole else connection.digest,
            )
        )


class ThreadWorker:
    """A thread of its own.

    Generators compute for tens of milliseconds at a time; the interpreter gives the event loop its
    turn every few of them, which it would not get from a coroutine.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="push")

    async def __call__(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, made in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def close(self) -> None:
        """End the thread after the work that it is doing."""
        self._executor.shutdown(wait=False, cancel_futures=True)


class InlineWorker:
    """The event loop itself: deterministic, for tests."""

    async def __call__(self, work: Callable[[], T]) -> T:
        """Return what `work` returns."""
        return work()
