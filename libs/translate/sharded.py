"""Sharded: a frozen map of maps, and a draft of the next one that copies only what it writes.

A change usually touches one small shard, so an event costs the copy of that shard and not of all.
"""

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Sharded = Mapping[S, Mapping[K, V]]


class ShardedDraft(Generic[S, K, V]):
    """Reads and writes the next version of a sharded map; the one it was made of never changes."""

    def __init__(self, before: Sharded[S, K, V]) -> None:
        self._before = before
        self._after: dict[S, dict[K, V]] | None = None
        self._own: set[S] = set()

    def shard(self, shard: S) -> Mapping[K, V]:
        """Return everything in a shard."""
        found = (self._before if self._after is None else self._after).get(shard)
        return {} if found is None else found

    def get(self, shard: S, key: K) -> V | None:
        """Return what stands under `key`, or None."""
        return self.shard(shard).get(key)

    def put(self, shard: S, key: K, value: V) -> None:
        """Set `key`."""
        self._writable(shard)[key] = value

    def drop(self, shard: S, key: K) -> None:
        """Remove `key` if it is there, and its shard once that is empty."""
        if key not in self.shard(shard):
            return
        rest = self._writable(shard)
        del rest[key]
        if not rest and self._after is not None:
            del self._after[shard]
            self._own.discard(shard)

    def done(self) -> Sharded[S, K, V]:
        """Return the map as drafted; the draft must not be written to afterwards."""
        return self._before if self._after is None else self._after

    def _writable(self, shard: S) -> dict[K, V]:
        if self._after is None:
            self._after = dict(self._before)  # type: ignore[arg-type]  # read-only until it is own
        if shard not in self._own:
            self._own.add(shard)
            self._after[shard] = dict(self._after.get(shard, ()))
        return self._after[shard]
