"""Assembly: from messages of the feed to a mesh and what changed. No I/O.

A snapshot may span several messages; until its last one the mesh stays as it was. What is not in a
snapshot has gone. Rows that are equal to what was known stay the same objects, so that whatever was
derived from them is still found. A row that cannot be read keeps its last good state.
"""

import logging
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from libs.model import wire
from libs.model.delta import Delta
from libs.model.ids import Ref
from libs.model.mesh import Key, Mesh, Table
from libs.protos.feed.v1.feed_pb2 import MeshUpdate, Row
from services.config_push import metrics
from services.config_push.errors import FeedGapError

logger = logging.getLogger(__name__)

_TABLES = frozenset(Table)


class Assembly:
    """The mesh as far as it has arrived. `restart` before each new subscription."""

    def __init__(self, mesh: Mesh | None = None) -> None:
        self.mesh = mesh or Mesh()
        self._sequence = 0
        self._whole = False  # the snapshot of this subscription is complete
        self._rows: dict[Key, Struct] = {}
        self._unread: set[Key] = set()
        self._removed: set[Key] = set()

    def restart(self) -> None:
        """Expect the first message of a new subscription."""
        self._sequence = 0
        self._whole = False
        self._clear()

    def add(self, update: MeshUpdate) -> Delta | None:
        """Take in one message; return what changed if it completed something.

        Raises:
            FeedGapError: messages are missing.

        """
        self._check(update)
        for row in update.rows:
            self._read(row)
        self._removed.update(_keys(update))
        if update.more:
            return None
        if update.snapshot:
            self._removed = self._gone()
            self._whole = True
        delta = self._finish(update)
        self._clear()
        return delta

    def _check(self, update: MeshUpdate) -> None:
        if update.sequence != self._sequence + 1:
            message = f"message {update.sequence} came after {self._sequence}"
            raise FeedGapError(message)
        if not self._whole and not update.snapshot:
            message = "a change came before the snapshot"
            raise FeedGapError(message)
        self._sequence = update.sequence

    def _read(self, row: Row) -> None:
        if row.type not in _TABLES:
            metrics.FEED_BAD_ROWS.inc()
            return
        key = Key(Table(row.type), row.key)
        try:
            self._rows[key] = wire.decode(key.table, row.body)
        except msgspec.DecodeError as error:
            self._unread.add(key)
            metrics.FEED_BAD_ROWS.inc()
            logger.error(  # noqa: TRY400  # the reason is enough
                "row of the feed cannot be read", extra={"key": row.key, "reason": str(error)}
            )

    def _gone(self) -> set[Key]:
        known = {Key(table, key) for table in self.mesh.tables for key in self.mesh.rows(table)}
        return known - self._rows.keys() - self._unread

    def _finish(self, update: MeshUpdate) -> Delta:
        known = self.mesh
        changed = {
            key: row for key, row in self._rows.items() if known.rows(key.table).get(key.key) != row
        }
        removed = {key for key in self._removed if key.key in known.rows(key.table)}
        if changed or removed:
            self.mesh = known.evolve([*changed.items(), *((key, None) for key in removed)])
        return Delta(
            changed=frozenset(changed),
            removed=frozenset(removed),
            causes=tuple(Ref(cause) for cause in update.causes),
            generations=tuple(update.generations),
            change=update.change,
            observed=update.observed,
        )

    def _clear(self) -> None:
        self._rows = {}
        self._unread = set()
        self._removed = set()


def _keys(update: MeshUpdate) -> Iterator[Key]:
    for removed in update.removed:
        if removed.type in _TABLES:
            yield Key(Table(removed.type), removed.key)
