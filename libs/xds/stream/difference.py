"""Difference: what a client lacks and what it has too much of, between two sets of resources.

Pure comparison. How it is put on the wire and in which order is decided by the sessions.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from libs.xds.stream.subscription import Subscription
from libs.xds.types import NamedResource, ResourceSet, resource_set


class Difference(Struct, frozen=True, gc=False):
    """Resources to send, in the order of their set, and names to take away, sorted."""

    upserts: tuple[NamedResource, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.upserts or self.removed)


def between(
    old: ResourceSet, new: ResourceSet, wanted: Subscription, *, again: frozenset[str] = frozenset()
) -> Difference:
    """Return what takes a client from `old` to `new`.

    Names of `again` are sent even if they are equal, and removed even if they were not there.
    """
    before = old.resources

    def lacks(item: NamedResource) -> bool:
        had = before.get(item.name)
        return had is None or had.version != item.version or item.name in again

    upserts = tuple(item for item in selected(new, wanted) if lacks(item))
    gone = (before.keys() | again) - new.resources.keys()
    return Difference(upserts, tuple(sorted(name for name in gone if wanted.covers(name))))


def since(reported: Mapping[str, str], new: ResourceSet, wanted: Subscription) -> Difference:
    """Return what a client lacks that reports to have the versions `reported` by name.

    Names that it asks for and that do not exist are removed explicitly, so that it need not wait.
    """
    upserts = tuple(
        item for item in selected(new, wanted) if reported.get(item.name) != item.version
    )
    known = wanted.names | reported.keys() if wanted.wildcard else wanted.names
    return Difference(upserts, tuple(sorted(known - new.resources.keys())))


def only(names: Iterable[str], new: ResourceSet) -> Difference:
    """Return the answer to a request for exactly `names`."""
    ordered = sorted(names)
    there = {name: new.resources[name] for name in ordered if name in new.resources}
    return Difference(
        tuple(item for item in there.values() if not item.unknown),
        tuple(name for name in ordered if name not in there or there[name].unknown),
    )


def selected(new: ResourceSet, wanted: Subscription) -> Iterable[NamedResource]:
    """Return those resources of a set that a client wants, in an order that depends on both."""
    if wanted.wildcard:
        return (item for item in new.resources.values() if not item.unknown)
    found = (new.resources.get(name) for name in sorted(wanted.names))
    return (item for item in found if item is not None and not item.unknown)


def union(old: ResourceSet, new: ResourceSet) -> ResourceSet:
    """Return `new` together with what of `old` it no longer has."""
    leaving = [item for name, item in old.resources.items() if name not in new.resources]
    if not leaving:
        return new
    return resource_set(new.type_url, [*new.resources.values(), *leaving], new.outcomes)


MANY = 128
"""Of so many cold clusters it is not looked which resource names which: then all wait."""


def warm(
    old: ResourceSet, new: ResourceSet, cold: frozenset[str], *, reported: Mapping[str, str]
) -> ResourceSet:
    """Return `new` with what a client has of it, in `old`, for each resource that has to wait.

    That is what differs and names a cluster of `cold`. Beside it nothing is taken away. `reported`
    are versions that a client has before its first answer. The result is `new` if nothing waits.
    """
    had = {name: item.version for name, item in old.resources.items()} or reported
    waiting = {
        item.name
        for item in new.resources.values()
        if had.get(item.name) != item.version and _names(item, cold)
    }
    if not waiting:
        return new
    kept = (
        old.resources.get(name) if name in waiting else item for name, item in new.resources.items()
    )
    leaving = (item for name, item in old.resources.items() if name not in new.resources)
    found = [item for item in (*kept, *leaving) if item is not None]
    return resource_set(new.type_url, found, new.outcomes)


def _names(item: NamedResource, clusters: frozenset[str]) -> bool:
    """Tell whether a resource may name one of `clusters`: its bytes hold the name."""
    return len(clusters) > MANY or any(name.encode() in item.body for name in clusters)
