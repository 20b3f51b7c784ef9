"""Crossing: what leads into networks, as all that resources say of it comes to together.

Gateways that are Services of the cluster are preferred to those that are only written down, as they
are nearer to its endpoints. Who needs a gateway at all is decided in `libs.proxy.networks`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from math import lcm
from typing import NamedTuple

from msgspec import Struct

from libs.model.ids import Ref
from libs.model.networks import NetworkGateway, Networks


class Entrance(Struct, frozen=True, gc=False, order=True):
    """Where a network is entered; the address may be a name."""

    address: str
    port: int


class Crossing(Struct, frozen=True, gc=False):
    """What leads into networks: all of them, or those of one service's endpoints."""

    scale: int = 1
    entrances: dict[str, tuple[Entrance, ...]] = {}  # by network, in order
    refs: dict[str, tuple[Ref, ...]] = {}  # likewise: where they are declared

    def __bool__(self) -> bool:
        return bool(self.entrances)

    def into(self, networks: frozenset[str]) -> "Crossing":
        """Return what leads into those of `networks` that have gateways."""
        known = sorted(self.entrances.keys() & networks) if self.entrances else ()
        if not known:
            return NO_CROSSING
        return Crossing(
            self.scale,
            {network: self.entrances[network] for network in known},
            {network: self.refs[network] for network in known},
        )

    def moved(self, before: "Crossing") -> frozenset[str]:
        """Return the networks that are reached otherwise than before."""
        named = self.entrances.keys() | before.entrances.keys()
        if self.scale != before.scale:
            return frozenset(named)
        return frozenset(
            network
            for network in named
            if self.entrances.get(network) != before.entrances.get(network)
            or self.refs.get(network) != before.refs.get(network)
        )


NO_CROSSING = Crossing()


class _Known(NamedTuple):
    """One gateway; those of the cluster's own Services come before what is only written."""

    of_service: bool
    entrance: Entrance


def crossing(rows: Iterable[Networks], *, names: bool = False) -> Crossing:
    """Return what leads into all networks; with `names`, by names as they are written."""
    found: dict[str, dict[_Known, set[Ref]]] = {}
    for row in rows:
        for gateway in row.gateways:
            for address in _addresses(gateway, names=names):
                known = _Known(gateway.of_service, Entrance(address, gateway.port))
                found.setdefault(gateway.network, {}).setdefault(known, set()).add(row.ref)
    if not found:
        return NO_CROSSING
    chosen = {network: _preferred(known) for network, known in found.items()}
    return Crossing(
        lcm(*(number for known in found.values() for number in _numbers(known))),
        {network: tuple(sorted(it.entrance for it in of)) for network, of in chosen.items()},
        {
            network: tuple(sorted({ref for it in of for ref in found[network][it]}))
            for network, of in chosen.items()
        },
    )


def _addresses(gateway: NetworkGateway, *, names: bool) -> tuple[str, ...]:
    return (gateway.address,) if names else gateway.addresses


def _preferred(known: Iterable[_Known]) -> list[_Known]:
    every = list(known)
    return [one for one in every if one.of_service] or every


def _numbers(known: Iterable[_Known]) -> Iterator[int]:
    """Yield among how many gateways the endpoints of a network may have to be shared out."""
    every = list(known)
    yield len(every)
    yield from Counter(one.of_service for one in every).values()
