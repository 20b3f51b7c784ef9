"""Responses: their bytes, made once for all streams to which the same has to be said.

A response is a concatenation of bytes that its resources carry. What makes two responses equal is
in the key: the versions of the sets before and after, what is wanted, and the nonce, which is a
push number. So a thousand streams of one class write one bytes object. The memory is bounded in
entries and bytes; overflow forgets the oldest entry, which costs making it again.

Sets of clusters that clients were brought to are remembered by version, with endpoints, the latest
MAX_RECALLED, because a client of state of the world says of what it has nothing but the version.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping

from msgspec import Struct

from libs.xds.stream.difference import (
    Difference,
    between,
    only,
    selected,
    since,
    union,
    warm,
)
from libs.xds.stream.subscription import Interner, Subscription
from libs.xds.types import SECRET, NamedResource, ResourceSet, field

MAX_DIFFERENCES = 4096
MAX_RESPONSES = 4096
MAX_UNIONS = 64
MAX_RECALLED = 64
MAX_BYTES = 64 * 1024 * 1024
_UNSHARED = frozenset({SECRET})
"""Types of which nothing is remembered here: keys are kept for nobody."""

_NO_DIFFERENCE = Difference()
Key = tuple[Hashable, ...]
"""The type URL, and then whatever makes two results equal."""


class Response(Struct, frozen=True, gc=False):
    """One response, ready to be written."""

    body: bytes
    nonce: str
    names: tuple[str, ...]  # of the resources that it carries
    removed: tuple[str, ...]


class Responses:
    """Makes and remembers differences and responses. Shared by all sessions of a process."""

    def __init__(self, *, control_plane: str = "") -> None:
        self.subscription = Interner()
        self._control_plane = field(1, control_plane) if control_plane else b""
        self._differences: dict[Key, Difference] = {}
        self._unions: dict[Key, ResourceSet] = {}
        self._splits: dict[int, tuple[Difference, tuple[Difference, Difference]]] = {}
        self._responses: dict[Key, tuple[Response, object]] = {}
        self._bytes = 0
        self._recalled: dict[str, tuple[ResourceSet, ResourceSet | None]] = {}

    def between(
        self,
        old: ResourceSet,
        new: ResourceSet,
        wanted: Subscription,
        *,
        again: frozenset[str] = frozenset(),
    ) -> Difference:
        """Return the shared result of `difference.between`."""
        if old.version == new.version and not again:
            return _NO_DIFFERENCE
        key = (new.type_url, old.version, new.version, wanted, again)
        return self._difference(key, lambda: between(old, new, wanted, again=again))

    def since(
        self, reported: Mapping[str, str], new: ResourceSet, wanted: Subscription
    ) -> Difference:
        """Return the result of `difference.since`, shared when nothing is reported."""
        if reported:
            return since(reported, new, wanted)
        return self._difference((new.type_url, new.version, wanted), lambda: since({}, new, wanted))

    def only(self, names: frozenset[str], new: ResourceSet) -> Difference:
        """Return the shared result of `difference.only`."""
        return self._difference((new.type_url, new.version, names), lambda: only(names, new))

    def union(self, old: ResourceSet, new: ResourceSet) -> ResourceSet:
        """Return the shared result of `difference.union`."""
        return self._union((new.type_url, old.version, new.version), lambda: union(old, new))

    def remember(self, clusters: ResourceSet, endpoints: ResourceSet | None) -> None:
        """Remember that clients were brought to `clusters`, and what endpoints these had then."""
        self._recalled.pop(clusters.version, None)
        self._recalled[clusters.version] = (clusters, endpoints)
        if len(self._recalled) > MAX_RECALLED:
            del self._recalled[next(iter(self._recalled))]

    def recalled(self, version: str) -> tuple[ResourceSet, ResourceSet | None] | None:
        """Return the clusters of a version and their endpoints, if it was remembered lately."""
        return self._recalled.get(version)

    def _union(self, key: Key, make: Callable[[], ResourceSet]) -> ResourceSet:
        found = self._unions.get(key)
        if found is None:
            if len(self._unions) >= MAX_UNIONS:
                del self._unions[next(iter(self._unions))]
            found = self._unions[key] = make()
        return found

    def warm(
        self,
        old: ResourceSet,
        new: ResourceSet,
        cold: frozenset[str],
        *,
        reported: Mapping[str, str],
    ) -> ResourceSet:
        """Return the result of `difference.warm`, shared when nothing is reported."""
        if reported:
            return warm(old, new, cold, reported=reported)
        key = (new.type_url, old.version, new.version, cold)
        return self._union(key, lambda: warm(old, new, cold, reported={}))

    def split(self, change: Difference) -> tuple[Difference, Difference]:
        """Return the upserts and the removals of `change` apart, shared like `change` itself."""
        entry = self._splits.get(id(change))
        if entry is None:
            parts = (Difference(change.upserts, ()), Difference((), change.removed))
            if any(item.type_url in _UNSHARED for item in change.upserts[:1]):
                return parts
            if len(self._splits) >= MAX_DIFFERENCES:
                del self._splits[next(iter(self._splits))]
            entry = self._splits[id(change)] = (change, parts)
        return entry[1]

    def delta(self, change: Difference, new: ResourceSet, nonce: str) -> Response:
        """Return the DeltaDiscoveryResponse that says `change` on the way to `new`."""
        key = (new.type_url, id(change), new.version, nonce)
        return self._response(key, change, lambda: self._encode_delta(change, new, nonce))

    def whole(self, new: ResourceSet, wanted: Subscription, nonce: str) -> Response:
        """Return the DiscoveryResponse that holds everything that is wanted of `new`."""
        key = (new.type_url, new.version, wanted, nonce)
        return self._response(
            key, wanted, lambda: self._encode_state(selected(new, wanted), new, nonce)
        )

    def part(self, change: Difference, new: ResourceSet, nonce: str) -> Response:
        """Return the DiscoveryResponse that holds only the upserts of `change`."""
        key = (new.type_url, id(change), new.version, nonce, "state")
        return self._response(key, change, lambda: self._encode_state(change.upserts, new, nonce))

    def _difference(self, key: Key, compare: Callable[[], Difference]) -> Difference:
        found = self._differences.get(key)
        if found is None:
            found = compare()
            if key[0] in _UNSHARED:
                return found
            if len(self._differences) >= MAX_DIFFERENCES:
                del self._differences[next(iter(self._differences))]
            self._differences[key] = found
        return found

    def _response(self, key: Key, owner: object, make: Callable[[], Response]) -> Response:
        # The entry holds what its key identifies by address, so that the address stays taken.
        entry = self._responses.get(key)
        if entry is None:
            entry = (make(), owner)
            if key[0] in _UNSHARED:
                return entry[0]
            self._responses[key] = entry
            self._bytes += len(entry[0].body)
            self._forget()
        return entry[0]

    def _forget(self) -> None:
        while len(self._responses) > 1 and (
            len(self._responses) > MAX_RESPONSES or self._bytes > MAX_BYTES
        ):
            oldest, _ = self._responses.pop(next(iter(self._responses)))
            self._bytes -= len(oldest.body)

    def _encode_delta(self, change: Difference, new: ResourceSet, nonce: str) -> Response:
        parts = [
            field(4, new.type_url),  # first, so that a relay knows from the start what follows
            field(1, new.version),
            *(field(2, item.delta_bytes) for item in change.upserts),
            field(5, nonce),
            *(field(6, name) for name in change.removed),
        ]
        if self._control_plane:
            parts.append(field(7, self._control_plane))
        names = tuple(item.name for item in change.upserts)
        return Response(b"".join(parts), nonce, names, change.removed)

    def _encode_state(
        self, items: Iterable[NamedResource], new: ResourceSet, nonce: str
    ) -> Response:
        sent = tuple(items)
        parts = [
            field(4, new.type_url),
            field(1, new.version),
            *(field(2, item.any_bytes) for item in sent),
            field(5, nonce),
        ]
        if self._control_plane:
            parts.append(field(6, self._control_plane))
        return Response(b"".join(parts), nonce, tuple(item.name for item in sent), ())
