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
    found = (new.resources.get(name) for name in ordered)
    return Difference(
        tuple(item for item in found if item is not None),
        tuple(name for name in ordered if name not in new.resources),
    )


def selected(new: ResourceSet, wanted: Subscription) -> Iterable[NamedResource]:
    """Return those resources of a set that a client wants, in an order that depends on both."""
    if wanted.wildcard:
        return new.resources.values()
    found = (new.resources.get(name) for name in sorted(wanted.names))
    return (item for item in found if item is not None)


def union(old: ResourceSet, new: ResourceSet) -> ResourceSet:
    """Return `new` together with what of `old` it no longer has."""
    leaving = [item for name, item in old.resources.items() if name not in new.resources]
    if not leaving:
        return new
    return resource_set(new.type_url, [*new.resources.values(), *leaving], new.outcomes)
