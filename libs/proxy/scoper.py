"""The scoper: from a mesh and a proxy to its scope, at the price of what changed.

It remembers what it made for the last two meshes. A hundred proxies of a namespace share one
outbound scope object, and whatever tables a change does not touch, the objects derived from them
stay the same objects: compare scopes by identity first and by digest second.
"""

from functools import partial
from hashlib import blake2b

from msgspec import structs

from libs.model import wire
from libs.model.mesh import Mesh, Table
from libs.proxy.crossing import NO_CROSSING, Crossing
from libs.proxy.endpoints import EndpointScoper, named_place, networks_of_names, whereabouts
from libs.proxy.facts import FactTable
from libs.proxy.inbound import InboundScoper
from libs.proxy.memo import Memo, WeakMemo
from libs.proxy.node import Proxy, ProxyType
from libs.proxy.outbound import Client, client_of, dials_itself, outbound_scope
from libs.proxy.outlook import Outlook
from libs.proxy.own_cluster import OwnClusters
from libs.proxy.scope import ANYWHERE, InboundScope, OutboundScope, ProxyScope, Whereabouts
from libs.proxy.telemetry import reachable

_OUTBOUND_TABLES = (
    Table.SETTINGS,
    Table.SERVICE,
    Table.ROUTING,
    Table.GATEWAY,
    Table.SIDECAR,
    Table.HOST_POLICY,
    Table.PEER_POLICY,
)


class Scoper:
    """Makes the scopes of proxies. Meshes must come in the order in which they were made."""

    def __init__(self) -> None:
        self._facts = FactTable()
        self._outlook = Outlook()
        self._seen: tuple[object, ...] = ()
        self._mesh: Mesh | None = None
        self._outbound: dict[Client, OutboundScope] = {}
        self._before: dict[Client, OutboundScope] = {}
        self._addressed: Memo[OutboundScope] = Memo()
        self._placed: Memo[OutboundScope] = Memo()
        self._inbound = InboundScoper()
        self._endpoints = EndpointScoper()
        self._own = OwnClusters()
        self._dialled: WeakMemo[frozenset[str]] = WeakMemo()
        self._named: WeakMemo[Whereabouts] = WeakMemo()
        self._ways: WeakMemo[Crossing] = WeakMemo()
        self._digests: WeakMemo[str] = WeakMemo()
        self._routing_hashes: Memo[bytes] = Memo()
        self._joined: Memo[bytes] = Memo()

    def scope(self, mesh: Mesh, proxy: Proxy) -> ProxyScope:
        """Return what `proxy` sees of `mesh`. Proxies with equal digests are one class."""
        if mesh is not self._mesh:
            self._turn_to(mesh)
        router = proxy.type is ProxyType.ROUTER
        published = self._inbound.published(mesh, proxy) if router else ()
        client = whereabouts(mesh, proxy)
        outbound = self._placed_scope(self._outbound_scope(proxy, published), client)
        inbound = _heard(self._inbound.scope(mesh, proxy), outbound)
        endpoints = self._endpoints.scopes(outbound, client)
        return ProxyScope(
            outbound=outbound,
            inbound=inbound,
            outbound_digest=self._digest(outbound),
            inbound_digest=wire.digest(inbound).hex(),
            endpoints=self._own.joined(endpoints, inbound.own, mesh),
        )

    def forget(self, proxy: Proxy) -> None:
        """Drop what is kept of a proxy that has gone."""
        self._inbound.forget(proxy)

    def _turn_to(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._own.turn()
        facts = self._facts.update(mesh.endpoints, mesh.services)
        seen = (*(mesh.rows(table) for table in _OUTBOUND_TABLES), facts)
        changed = len(seen) != len(self._seen) or any(
            new is not old for new, old in zip(seen, self._seen, strict=True)
        )
        if changed:
            self._seen = seen
            self._outlook.turn_to(mesh, facts)
            self._before, self._outbound = self._outbound, {}
            self._addressed.turn()
            self._placed.turn()
            self._routing_hashes.turn()
            self._joined.turn()
        self._endpoints.turn_to(mesh, self._outlook.peers)

    def _outbound_scope(
        self, proxy: Proxy, published: tuple[tuple[int, int], ...]
    ) -> OutboundScope:
        client = client_of(self._outlook, proxy, published)
        scope = self._outbound.get(client)
        if scope is None:
            scope = outbound_scope(self._outlook, proxy, published)
            before = self._before.get(client)
            if before is not None and self._digest(before) == self._digest(scope):
                scope = before  # so that all that was made of it is found again
            self._outbound[client] = scope
        return self._addressed_scope(scope, proxy)

    def _addressed_scope(self, scope: OutboundScope, proxy: Proxy) -> OutboundScope:
        """Return `scope` with those addresses of the proxy that it must not open listeners for."""
        dialled = self._dialled.get(scope, (), partial(_dialled, scope))
        own = tuple(sorted(dialled.intersection(proxy.addresses)))
        if not own:
            return scope
        return self._addressed.get(
            (scope, " ".join(own)), lambda: structs.replace(scope, own_addresses=own)
        )

    def _placed_scope(self, scope: OutboundScope, client: Whereabouts) -> OutboundScope:
        """Return `scope` with where the client is, if its clusters hold endpoints to choose by."""
        place = self._named.get(scope, (repr(client),), partial(named_place, scope, client))
        ways = self._ways_by_name(scope)
        if place == ANYWHERE and not ways:
            return scope
        return self._placed.get(
            (scope, repr(place), ways), lambda: structs.replace(scope, place=place, ways=ways)
        )

    def _ways_by_name(self, scope: OutboundScope) -> Crossing:
        """Return what leads into the networks of those endpoints that stand in clusters."""
        by_name = self._endpoints.by_name
        if not by_name:
            return NO_CROSSING
        return self._ways.get(scope, (by_name,), lambda: by_name.into(networks_of_names(scope)))

    def _digest(self, scope: OutboundScope) -> str:
        return self._digests.get(scope, (), lambda: self._outbound_digest(scope))

    def _outbound_digest(self, scope: OutboundScope) -> str:
        digest = blake2b(wire.encode(structs.replace(scope, services=(), routings=())))
        digest.update(
            self._joined.get((scope.services, scope.routings), partial(self._join, scope))
        )
        return digest.hexdigest()[:32]

    def _join(self, scope: OutboundScope) -> bytes:
        services = (service.digest for service in scope.services)
        routings = (
            self._routing_hashes.get((routing,), partial(wire.digest, routing))
            for routing in scope.routings
        )
        return b"".join((*services, b"routings", *routings))


def _heard(inbound: InboundScope, outbound: OutboundScope) -> InboundScope:
    """Return the scope without telemetry for services that the proxy does not see."""
    if not inbound.settings.providers:
        return inbound
    places = frozenset(
        (scoped.service.host, port.number)
        for scoped in outbound.services
        for port in scoped.service.ports
    )
    told = reachable(inbound.telemetry, inbound.settings, places)
    return inbound if told is inbound.telemetry else structs.replace(inbound, telemetry=told)


def _dialled(scope: OutboundScope) -> frozenset[str]:
    return frozenset(a for s in scope.services if dials_itself(s) for a in s.pod_addresses)
