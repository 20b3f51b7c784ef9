"""Standing: how far the proxies of this replica are, whatever change it was that they were sent.

A resource concerns a proxy if anything that the proxy was offered came from it. That is found class
by class: proxies that were offered the same sets are counted once for all resources. What a set
came from is remembered until the next look that does not meet the set.
"""

import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct

from libs.model.ids import Ref
from libs.protos.receipts.v1.receipts_pb2 import RefStanding, Rejection, Standing
from libs.xds.types import ResourceSet
from services.config_push.connection import Connection
from services.config_push.connections import Connections

MAX_REJECTIONS = 3
"""Refusals of one resource that are told in words."""

Stand = Callable[[Collection[Ref]], Standing]
"""Says how the proxies stand, and how those do that each of these resources concerns."""


def standing(connections: Connections, taken_over: float) -> Standing:
    """Return the standing; a proxy counts once, by its Envoy's stream."""
    proxies = [one for one in connections if not one.of_agent]
    rejecting = sum(map(_rejects, proxies))
    return Standing(
        connected=len(proxies),
        synced=sum(_is_synced(one) and not _rejects(one) for one in proxies),
        rejecting=rejecting,
        taken_over=taken_over,
        joined=connections.last,
    )


class Concerns:
    """Finds whom resources concern."""

    def __init__(self) -> None:
        self._sources: dict[int, _Sources] = {}

    def standings(
        self, connections: Iterable[Connection], refs: Collection[Ref]
    ) -> list[RefStanding]:
        """Return how those stand whom each of `refs` concerns, if it concerns anybody."""
        wanted = frozenset(refs)
        found: dict[Ref, RefStanding] = {}
        before, self._sources = self._sources, {}
        for sets, proxies in _by_sets(connections):
            here = wanted & frozenset[Ref]().union(*(self._of(it, before) for it in sets))
            counted = _counted(proxies)
            for reference in here:
                one = found.setdefault(reference, RefStanding(ref=reference))
                one.concerned += len(proxies)
                one.synced += counted.synced
            for proxy in counted.refusing:
                _blame(proxy, here, found)
        return list(found.values())

    def _of(self, resources: ResourceSet, before: Mapping[int, "_Sources"]) -> frozenset[Ref]:
        place = id(resources)
        known = self._sources.get(place) or before.get(place)
        if known is None or known.of() is not resources:
            refs = frozenset(it for item in resources.resources.values() for it in item.sources)
            known = _Sources(weakref.ref(resources), refs)
        self._sources[place] = known
        return known.refs


class _Sources(NamedTuple):
    of: weakref.ref[ResourceSet]
    refs: frozenset[Ref]


class _Counted(Struct, frozen=True):
    synced: int
    refusing: list[Connection]


def _by_sets(
    connections: Iterable[Connection],
) -> Iterable[tuple[Collection[ResourceSet], list[Connection]]]:
    found: dict[tuple[int, ...], tuple[Collection[ResourceSet], list[Connection]]] = {}
    for one in connections:
        if not one.of_agent:
            sets = one.before.values()
            found.setdefault(tuple(map(id, sets)), (sets, []))[1].append(one)
    return found.values()


def _counted(proxies: Iterable[Connection]) -> _Counted:
    synced, refusing = 0, []
    for one in proxies:
        if _rejects(one):
            refusing.append(one)
        else:
            synced += _is_synced(one)
    return _Counted(synced, refusing)


def _blame(proxy: Connection, here: frozenset[Ref], found: dict[Ref, RefStanding]) -> None:
    """Count a proxy that refuses something as one that refuses what is to blame for it.

    What it accepted beside that it has. If nobody can be blamed, nobody is said to be in force.
    """
    refused = [it for it in proxy.session.watches.values() if it.ledger.error]
    if not all(watch.ledger.guilty_sources for watch in refused):
        return
    guilty = here & {it for one in refused for it in one.ledger.guilty_sources}
    synced = _is_synced(proxy)
    for reference in here - guilty:
        found[reference].synced += synced
    for reference in guilty:
        one = found[reference]
        one.rejecting += 1
        if len(one.rejections) < MAX_REJECTIONS:
            one.rejections.extend(
                Rejection(
                    proxy=proxy.proxy_id,
                    type_url=watch.type_url,
                    resources=watch.ledger.guilty,
                    text=watch.ledger.error,
                    sources=watch.ledger.guilty_sources,
                )
                for watch in refused
                if reference in watch.ledger.guilty_sources
            )


def _is_synced(connection: Connection) -> bool:
    """Tell whether everything that it was offered was sent, and all that was sent answered."""
    if connection.offered is None or connection.behind or connection.session.held:
        return False
    return not any(watch.ledger.waiting for watch in connection.session.watches.values())


def _rejects(connection: Connection) -> bool:
    return any(watch.ledger.error for watch in connection.session.watches.values())
