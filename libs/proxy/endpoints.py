"""Endpoint scopes: what decides the endpoints of each cluster for one class of clients.

Most clusters have the same endpoints for every client, so most endpoint scopes are one shared
object. A client's locality, node and labels enter only where the balancing asks for them. When
endpoints move, only the scopes of their own services are made anew.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from msgspec import structs

from libs.model.endpoint import Endpoint, EndpointSet, Health, Locality
from libs.model.ids import Ref, ServiceKey
from libs.model.mesh import Mesh
from libs.model.networks import Networks
from libs.model.security import MtlsMode
from libs.model.service import Protocol, Resolution, ServicePort
from libs.model.settings import MeshSettings
from libs.model.traffic import LocalityBalancing, Simple, TlsMode, TrafficPolicy
from libs.proxy import locality, networks, sessions
from libs.proxy.address_families import reachable
from libs.proxy.cluster_name import ClusterName, parse_cluster
from libs.proxy.crossing import NO_CROSSING, Crossing, crossing
from libs.proxy.gateways import passed_by_name
from libs.proxy.memo import Memo, WeakMemo, same
from libs.proxy.node import Families, Interception, Proxy, ProxyType
from libs.proxy.peers import PeerPolicies
from libs.proxy.scope import (
    ANYWHERE,
    EndpointScope,
    EndpointScopes,
    GatewayListener,
    OutboundScope,
    ScopedService,
    ScopedSubset,
    Whereabouts,
)

_NOWHERE = Locality()
_NO_ENDPOINTS = EndpointSet(key=ServiceKey(""))


def whereabouts(mesh: Mesh, proxy: Proxy) -> Whereabouts:
    """Return where `proxy` is; its network only if any has gateways."""
    workload = mesh.workloads.get(proxy.workload)
    node = workload.node if workload else ""
    labels = {**proxy.labels, **locality.topology(proxy.locality, proxy.network, node)}
    matters = any(row.gateways for row in mesh.networks.values())
    return Whereabouts(
        locality=proxy.locality,
        node=node,
        labels=tuple(sorted(labels.items())),
        network=proxy.network if matters else "",
        views=networks.views(proxy.metadata.get("REQUESTED_NETWORK_VIEW", "")),
        dials=proxy.type is not ProxyType.PROXYLESS,
    )


class _Needs(NamedTuple):
    """What of a client's whereabouts decides its endpoints."""

    node: bool
    locality: bool
    labels: frozenset[str]
    passed: bool  # some policy leaves the choice to whoever dials

    def of(self, client: Whereabouts) -> Whereabouts:
        if self == _NOTHING and not client.network and not client.views:
            return ANYWHERE
        return Whereabouts(
            locality=client.locality if self.locality else _NOWHERE,
            node=client.node if self.node else "",
            labels=tuple(item for item in client.labels if item[0] in self.labels),
            network=client.network,
            views=client.views,
            dials=client.dials or not self.passed,
        )


_NOTHING = _Needs(node=False, locality=False, labels=frozenset(), passed=False)


class _Sight(NamedTuple):
    """What of an outbound scope decides endpoint scopes: its parts are compared by `is`."""

    services: tuple[ScopedService, ...]
    settings: MeshSettings
    gateways: tuple[GatewayListener, ...]
    original: bool
    families: Families

    @property
    def key(self) -> tuple[object, ...]:
        """The same for the same sight, as long as the objects live."""
        parts = (id(self.services), id(self.settings), id(self.gateways))
        return (*parts, self.original, self.families)


class _View(NamedTuple):
    """All endpoint scopes of one class of clients, as of one epoch."""

    sight: _Sight
    epoch: int
    scopes: EndpointScopes


class _Kept:
    """The endpoint scopes of one service, by the place of the client, for one row of endpoints."""

    def __init__(self) -> None:
        self.inputs: tuple[object, ...] = ()
        self.row = _NO_ENDPOINTS
        self.networks: frozenset[str] = frozenset()
        self.ways = NO_CROSSING
        self.by_place: dict[tuple[Whereabouts, Families], tuple[EndpointScope, ...]] = {}
        self.settings: MeshSettings | None = None
        self.needs = _NOTHING

    def take(self, row: EndpointSet, ways: Crossing, *rest: object) -> None:
        """Look at endpoints and what leads to them; forget what was made of others."""
        if row is not self.row:
            self.row, self.networks = row, frozenset(it.network for it in row.endpoints)
        ways = ways.into(self.networks)
        inputs = (row, *rest)
        if ways != self.ways or not same(self.inputs, inputs):
            self.inputs, self.ways, self.by_place = inputs, ways, {}

    def place(
        self, scoped: ScopedService, settings: MeshSettings, client: Whereabouts
    ) -> Whereabouts:
        """Return what of a client's whereabouts decides: without networks, they do not."""
        network = client.network if self.ways else ""
        views = client.views if self.networks - {""} else ()
        needs = self.needs_of(scoped, settings)
        return needs.of(client._replace(network=network, views=views))

    def needs_of(self, scoped: ScopedService, settings: MeshSettings) -> _Needs:
        """Return what of a client's whereabouts decides the endpoints of `scoped`."""
        if self.settings is not settings:
            self.settings, self.needs = settings, _needs_of(scoped, settings)
        return self.needs


class EndpointScoper:
    """Makes endpoint scopes; keeps those that a change does not touch."""

    def __init__(self) -> None:
        self._epoch = 0
        self._rows: Mapping[str, EndpointSet] = {}
        self._peers: PeerPolicies | None = None  # None while no policy forbids mesh TLS
        self._moved: frozenset[str] = frozenset()
        self._networks: Mapping[str, Networks] = {}
        self._ways = NO_CROSSING
        self.by_name = NO_CROSSING
        """What leads into networks by names that proxies resolve themselves."""
        self._kept: WeakMemo[_Kept] = WeakMemo()
        self._needs: Memo[_Needs] = Memo()
        self._views: dict[tuple[object, ...], _View] = {}
        self._older: dict[tuple[object, ...], _View] = {}

    def turn_to(self, mesh: Mesh, peers: PeerPolicies) -> None:
        """Look at the endpoints of `mesh`."""
        self._older, self._views = self._views, {}
        self._needs.turn()
        forbids = peers if _forbids(mesh) else None
        rows = mesh.endpoints
        entered = self._entered(mesh)
        if forbids is not self._peers:
            self._epoch += 2  # a view that is two epochs old is made anew
        elif rows is not self._rows or entered:
            self._epoch += 1
        self._moved = frozenset(_moved(self._rows, rows)) | frozenset(_within(rows, entered))
        self._rows, self._peers = rows, forbids

    def _entered(self, mesh: Mesh) -> frozenset[str]:
        """Take the gateways of networks in; return the networks that have others now."""
        if mesh.networks is self._networks:
            return frozenset()
        before, self._networks = self._ways, mesh.networks
        self._ways = crossing(mesh.networks.values())
        by_name = crossing(mesh.networks.values(), names=True)
        self.by_name = self.by_name if by_name == self.by_name else by_name
        return self._ways.moved(before)

    def scopes(self, outbound: OutboundScope, client: Whereabouts) -> EndpointScopes:
        """Return the endpoint scopes by cluster; the same object if none of them changed."""
        needs = self._needs.get(
            (outbound.services, outbound.settings), lambda: self._needs_of(outbound)
        )
        place = needs.of(client)
        sight = _sight(outbound)
        key = (*sight.key, place)
        view = self._views.get(key)
        if view is None:
            view = self._next(outbound, place, self._older.get(key))
            self._views[key] = view
        return view.scopes

    def _next(self, outbound: OutboundScope, client: Whereabouts, before: _View | None) -> _View:
        sight = _sight(outbound)
        if before is None or before.epoch < self._epoch - 1:
            made = (self._of(outbound, scoped, client) for scoped in outbound.services)
            found = EndpointScopes((scope.cluster, scope) for scopes in made for scope in scopes)
            return _View(sight, self._epoch, found)
        touched = [scoped for scoped in outbound.services if scoped.service.key in self._moved]
        if before.epoch == self._epoch or not touched:
            return _View(sight, self._epoch, before.scopes)
        scopes = EndpointScopes(before.scopes)
        for scoped in touched:
            scopes.update((scope.cluster, scope) for scope in self._of(outbound, scoped, client))
        return _View(sight, self._epoch, scopes)

    def _needs_of(self, outbound: OutboundScope) -> _Needs:
        settings = outbound.settings
        of_services = {
            self._kept.get(scoped, (), _Kept).needs_of(scoped, settings)
            for scoped in outbound.services
        }
        return _Needs(
            node=any(needs.node for needs in of_services),
            locality=any(needs.locality for needs in of_services),
            labels=frozenset[str]().union(*(needs.labels for needs in of_services)),
            passed=any(needs.passed for needs in of_services),
        )

    def _of(
        self, outbound: OutboundScope, scoped: ScopedService, client: Whereabouts
    ) -> tuple[EndpointScope, ...]:
        if not has_endpoints(outbound, scoped):
            return ()
        row = self._rows.get(scoped.service.key, _NO_ENDPOINTS)
        kept = self._kept.get(scoped, (), _Kept)
        kept.take(row, self._ways, self._peers, outbound.settings)
        place = kept.place(scoped, outbound.settings, client)
        key = (place, outbound.families)
        scopes = kept.by_place.get(key)
        if scopes is None:
            reached = reachable(row, outbound.families)
            sight = _Sighted(scoped, reached, self._peers, outbound.settings, kept.ways)
            scopes = tuple(_scopes(sight, place))
            kept.by_place[key] = scopes
        return scopes + _by_name(scopes) if passed_by_name(outbound, scoped) else scopes


def _sight(outbound: OutboundScope) -> _Sight:
    return _Sight(
        outbound.services,
        outbound.settings,
        outbound.gateways,
        original=knows_original(outbound),
        families=outbound.families,
    )


def _by_name(scopes: tuple[EndpointScope, ...]) -> tuple[EndpointScope, ...]:
    """Return the endpoints of the clusters that a router finds by the SNI of TLS.

    The router passes the caller's mesh TLS on, so they are those that can end it.
    """
    named = ((scope, parse_cluster(scope.cluster)) for scope in scopes)
    return tuple(
        structs.replace(scope, cluster=name.sni, endpoints=tuple(_ending_mesh_tls(scope)))
        for scope, name in named
        if name
    )


def _ending_mesh_tls(scope: EndpointScope) -> Iterator[Endpoint]:
    for endpoint in scope.endpoints:
        place = (endpoint.address, endpoint.port)
        if endpoint.mtls and place not in scope.mtls_disabled_ports:
            yield endpoint


def has_endpoints(outbound: OutboundScope, scoped: ScopedService) -> bool:
    """Tell whether the control plane sends the endpoints of a service."""
    resolution = scoped.service.resolution
    if resolution is Resolution.ORIGINAL:
        return not knows_original(outbound)
    return resolution is Resolution.ENDPOINTS


def knows_original(outbound: OutboundScope) -> bool:
    """Tell whether a proxy knows the address that was dialled.

    It does only if connections were redirected to it: what was dialled else is the proxy itself.
    """
    redirected = outbound.interception is not Interception.NONE
    return outbound.type is ProxyType.SIDECAR and redirected


def passes_through(policy: TrafficPolicy) -> bool:
    """Tell whether a policy leaves the choice of the endpoint to whoever dialled."""
    balancing = policy.load_balancing
    return balancing is not None and balancing.simple is Simple.PASSTHROUGH


def _forbids(mesh: Mesh) -> bool:
    off = MtlsMode.DISABLE
    return any(
        policy.mode is off or off in policy.ports.values() for policy in mesh.peer_policies.values()
    )


def _moved(before: Mapping[str, EndpointSet], after: Mapping[str, EndpointSet]) -> Iterator[str]:
    yield from (key for key, row in after.items() if before.get(key) is not row)
    yield from (key for key in before if key not in after)


def _within(rows: Mapping[str, EndpointSet], entered: frozenset[str]) -> Iterator[str]:
    """Yield the services that have endpoints in one of the networks."""
    for key, row in rows.items() if entered else ():
        if any(endpoint.network in entered for endpoint in row.endpoints):
            yield key


def _needs_of(scoped: ScopedService, settings: MeshSettings) -> _Needs:
    policies = [policy for subset in scoped.subsets for policy in subset.policies.values()]
    balancings = (locality.in_force(scoped.service, policy, settings) for policy in policies)
    settings_in_force = [b.setting for b in balancings if b.setting is not None and _by_place(b)]
    named = (locality.priority_labels(setting, {}) for setting in settings_in_force)
    return _Needs(
        node=scoped.service.node_local,
        locality=bool(settings_in_force),
        labels=frozenset(key for pairs in named for key, _ in pairs),
        passed=any(map(passes_through, policies)),
    )


def named_place(outbound: OutboundScope, client: Whereabouts) -> Whereabouts:
    """Return what of a client's whereabouts decides the endpoints that stand in clusters."""
    if not networks_of_names(outbound):
        client = client._replace(network="", views=())
    named = (scoped for scoped in outbound.services if len(scoped.dns_endpoints) > 1)
    needs = [_needs_of(scoped, outbound.settings) for scoped in named]
    return _Needs(
        node=False,
        locality=any(one.locality for one in needs),
        labels=frozenset[str]().union(*(one.labels for one in needs)),
        passed=False,
    ).of(client)


def networks_of_names(outbound: OutboundScope) -> frozenset[str]:
    """Return the networks of the endpoints that stand in clusters."""
    found = {it.network for scoped in outbound.services for it in scoped.dns_endpoints}
    return frozenset(found - {""})


def entered_by_name(outbound: OutboundScope, scoped: ScopedService) -> tuple[Ref, ...]:
    """Return where the gateways are declared that stand in a service's clusters."""
    return _declaring(scoped.dns_endpoints, outbound.place, outbound.ways)


def of_names(  # noqa: PLR0917 - which cluster, for whom
    outbound: OutboundScope, scoped: ScopedService, port: ServicePort, subset: ScopedSubset
) -> EndpointScope:
    """Return the endpoints of a service that DNS resolves, at one port and subset."""
    chosen = [
        endpoint
        for endpoint in sessions.served(scoped.service, scoped.dns_endpoints)
        if endpoint.port_name == port.name and subset.labels.items() <= endpoint.labels.items()
    ]
    policy, service = subset.policies[port.number], scoped.service
    place, ways = outbound.place, outbound.ways
    passes = partial(_passes, policy=policy, peers=None)
    reached = networks.reached(chosen, place, ways, passes)
    single = service.resolution is Resolution.DNS_ROUND_ROBIN  # which Envoy takes literally
    found = EndpointScope(
        cluster=str(ClusterName(port.number, subset.name, service.host)),
        service=service.key,
        endpoints=reached[:1] if single and len(chosen) == 1 else reached,
        refs=_declaring(chosen, place, ways),
        cluster_id=outbound.settings.cluster_id,
    )
    balancing = locality.in_force(service, policy, outbound.settings)
    if len(scoped.dns_endpoints) < 2 or not _by_place(balancing):
        return found
    return structs.replace(
        found,
        balancing=balancing.setting,
        failover=balancing.failover,
        locality=place.locality,
        labels=_labels(balancing.setting, place),
    )


def _by_place(balancing: locality.InForce) -> bool:
    setting = balancing.setting
    return setting is not None and bool(setting.distribute or balancing.failover)


class _Sighted(NamedTuple):
    """A service with all that decides the endpoints of its clusters, but for who asks."""

    scoped: ScopedService
    row: EndpointSet
    peers: PeerPolicies | None
    settings: MeshSettings
    ways: Crossing


def _scopes(sighted: _Sighted, client: Whereabouts) -> Iterator[EndpointScope]:
    scoped, row, peers, settings, ways = sighted
    service = scoped.service
    live = [e for e in row.endpoints if _near(scoped, e, client.node)]
    for port in service.ports:
        if port.protocol is Protocol.UDP:
            continue
        of_port = [endpoint for endpoint in live if endpoint.port_name == port.name]
        forbidden = tuple(_forbidden(of_port, peers)) if peers else ()
        for subset in scoped.subsets:
            policy = subset.policies[port.number]
            if client.dials and passes_through(policy):
                continue
            balancing = locality.in_force(service, policy, settings)
            near = balancing if _by_place(balancing) else locality.InForce(None, failover=False)
            mesh_tls = speaks_mesh_tls(policy)
            chosen = list(_chosen(scoped, subset, policy, of_port))
            yield EndpointScope(
                cluster=str(ClusterName(port.number, subset.name, service.host)),
                service=service.key,
                endpoints=networks.reached(
                    chosen, client, ways, partial(_passes, policy=policy, peers=peers)
                ),
                refs=(*scoped.refs, *row.refs, *_declaring(chosen, client, ways)),
                mtls_disabled_ports=forbidden,
                balancing=near.setting,
                failover=near.failover,
                locality=client.locality if near.setting else _NOWHERE,
                labels=_labels(near.setting, client),
                mesh_tls=mesh_tls,
                cluster_id=settings.cluster_id,
            )


def speaks_mesh_tls(policy: TrafficPolicy) -> bool:
    """Tell whether a client calls those with mesh TLS who understand it."""
    return policy.tls is None or policy.tls.mode is TlsMode.ISTIO_MUTUAL


def _passes(endpoint: Endpoint, *, policy: TrafficPolicy, peers: PeerPolicies | None) -> bool:
    """Tell whether a client calls an endpoint with mesh TLS, so that gateways pass it on."""
    if not endpoint.mtls:
        return False
    if policy.tls is not None:  # which does not ask what the endpoint's policies want
        return speaks_mesh_tls(policy)
    return peers is None or not any(_forbidden([endpoint], peers))


def _declaring(
    endpoints: Iterable[Endpoint], client: Whereabouts, ways: Crossing
) -> tuple[Ref, ...]:
    """Return where the gateways are declared that stand for some of the endpoints."""
    far = {it.network for it in endpoints if networks.is_far(it, client, ways)}
    return tuple(dict.fromkeys(ref for network in sorted(far) for ref in ways.refs[network]))


def _near(scoped: ScopedService, endpoint: Endpoint, node: str) -> bool:
    return not scoped.service.node_local or (bool(node) and endpoint.node == node)


def _chosen(  # noqa: PLR0917 - the parts of one cluster
    scoped: ScopedService, subset: ScopedSubset, policy: TrafficPolicy, endpoints: list[Endpoint]
) -> Iterator[Endpoint]:
    outlier = policy.outlier_detection
    wanted = outlier is None or not outlier.min_health_percent
    without_unhealthy = not (wanted or locality.spills_over(scoped.service))
    for endpoint in sessions.served(scoped.service, endpoints):
        if endpoint.health is Health.UNHEALTHY and without_unhealthy:
            continue
        if subset.labels.items() <= endpoint.labels.items():
            yield endpoint


def _forbidden(endpoints: list[Endpoint], peers: PeerPolicies) -> Iterator[tuple[str, int]]:
    for endpoint in endpoints:
        mode, _ = peers.effective(endpoint.namespace, endpoint.labels, endpoint.port)
        if mode is MtlsMode.DISABLE:
            yield endpoint.address, endpoint.port


def _labels(setting: LocalityBalancing | None, client: Whereabouts) -> dict[str, str]:
    if setting is None or setting.distribute:
        return {}
    return dict(locality.priority_labels(setting, dict(client.labels)))
