"""Feed: the mesh for subscribers: a snapshot first, then each change, in one stream.

Every subscriber has a queue of changes that it has not been sent yet. It is bounded by
`MAX_PENDING`; overflow ends the stream, counted, and the subscriber subscribes again: it gets a new
snapshot, which is cheaper than the changes it has missed.
Sending waits for the subscriber (gRPC's flow control) and never holds up anybody else.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count

from libs.model import wire
from libs.model.delta import Delta
from libs.model.mesh import Key, Mesh
from libs.protos.feed.v1.feed_pb2 import MeshUpdate, Row, RowKey
from services.discovery import metrics
from services.discovery.errors import FellBehindError

MAX_PENDING = 256
MESSAGE_BYTES = 512 * 1024
"""Of rows in one message; a single larger row still makes one message."""

Versions = Mapping[Key, int]


class Feed:
    """The latest mesh, and everyone who follows it."""

    def __init__(self, *, max_pending: int = MAX_PENDING) -> None:
        self._max_pending = max_pending
        self._mesh = Mesh()
        self._change = 0
        self._versions: dict[Key, int] = {}
        self._loaded = asyncio.Event()
        self._pending: set[_Pending] = set()

    @property
    def mesh(self) -> Mesh:
        """The latest mesh."""
        return self._mesh

    @property
    def loaded(self) -> bool:
        """Whether there is a mesh to follow."""
        return self._loaded.is_set()

    def publish(self, mesh: Mesh, delta: Delta) -> None:
        """Make `mesh` the latest and tell every subscriber. The first call opens the feed."""
        self._mesh = mesh
        self._change = delta.change or self._change
        self._versions.update(dict.fromkeys(delta.changed, delta.change))
        for key in delta.removed:
            self._versions.pop(key, None)
        self._loaded.set()
        if not delta:
            return
        change = _Change(mesh, delta)
        for pending in self._pending:
            pending.put(change)

    async def follow(self) -> AsyncIterator[MeshUpdate]:
        """Yield the snapshot and then all changes, once there is a mesh.

        Raises:
            FellBehindError: the subscriber was too slow.

        """
        await self._loaded.wait()
        with self._subscribed() as pending:
            sequence = count(1)
            for update in _snapshot(self._mesh, dict(self._versions), self._change):
                yield _numbered(update, next(sequence))
            while True:
                for update in await pending.get():
                    yield _numbered(update, next(sequence))

    @contextmanager
    def _subscribed(self) -> Iterator["_Pending"]:
        pending = _Pending(self._max_pending)
        self._pending.add(pending)
        metrics.SUBSCRIBERS.inc()
        try:
            yield pending
        finally:
            self._pending.discard(pending)
            metrics.SUBSCRIBERS.dec()


class _Change:
    """The messages of one change: made piece by piece when first sent, then shared by all."""

    def __init__(self, mesh: Mesh, delta: Delta) -> None:
        rows = (_row(mesh, key, delta.change) for key in sorted(delta.changed))
        removed = [RowKey(type=key.table, key=key.key) for key in sorted(delta.removed)]
        self._rest = _updates(rows, _header(delta), removed=removed)
        self._made: list[MeshUpdate] = []

    def __iter__(self) -> Iterator[MeshUpdate]:
        for index in count():
            if index == len(self._made):
                update = next(self._rest, None)
                if update is None:
                    return
                self._made.append(update)
            yield self._made[index]


class _Pending:
    """Changes that one subscriber has not been sent yet."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._changes: deque[_Change] = deque()
        self._behind = False
        self._wake = asyncio.Event()

    def put(self, change: _Change) -> None:
        if len(self._changes) >= self._limit and not self._behind:
            self._behind = True
            self._changes.clear()
            metrics.FEED_OVERFLOWS.inc()
        if not self._behind:
            self._changes.append(change)
        self._wake.set()

    async def get(self) -> _Change:
        await self._wake.wait()
        if self._behind:
            raise FellBehindError
        change = self._changes.popleft()
        if not self._changes:
            self._wake.clear()
        return change


def _snapshot(mesh: Mesh, versions: Versions, change: int) -> Iterator[MeshUpdate]:
    """Encodes as it goes, so that a large mesh does not stop the event loop."""
    rows = (
        _row(mesh, Key(table, key), versions.get(Key(table, key), change))
        for table in sorted(mesh.tables)
        for key in sorted(mesh.rows(table))
    )
    yield from _updates(rows, MeshUpdate(snapshot=True, change=change))


def _row(mesh: Mesh, key: Key, version: int) -> Row:
    body = wire.encode(mesh.rows(key.table)[key.key])
    return Row(type=key.table, key=key.key, version=version, body=body)


def _header(delta: Delta) -> MeshUpdate:
    return MeshUpdate(
        change=delta.change,
        causes=delta.causes,
        generations=delta.generations,
        observed=delta.observed,
    )


def _updates(
    rows: Iterable[Row], header: MeshUpdate, *, removed: Iterable[RowKey] = ()
) -> Iterator[MeshUpdate]:
    """Spread rows over messages; each has the header, and all but the last say that more follow."""
    update, size = _copy(header), 0
    for row in rows:
        if size >= MESSAGE_BYTES:
            update.more = True
            yield update
            update, size = _copy(header), 0
        update.rows.append(row)
        size += len(row.body)
    update.removed.extend(removed)
    yield update


def _copy(update: MeshUpdate) -> MeshUpdate:
    copied = MeshUpdate()
    copied.CopyFrom(update)
    return copied


def _numbered(update: MeshUpdate, sequence: int) -> MeshUpdate:
    """The same change has another number in each stream."""
    numbered = _copy(update)
    numbered.sequence = sequence
    return numbered
