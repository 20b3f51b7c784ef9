"""Listeners of gateways: what a router takes at its ports, and by which chain.

A listener is named `<address>_<port>`. Requests in clear text share one chain. Of TLS each server
has its own, told apart by the name that the client asks for; where TLS is passed on, each rule of a
routing has one, or, for servers that pass on to whatever the name says, each cluster.
Which servers share a listener is decided by `libs.proxy.gateways`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from envoy.config.core.v3.base_pb2 import TrafficDirection, TransportSocket
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener as EnvoyListener
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from msgspec import structs

from libs.model import hosts
from libs.model.extensions import Phase
from libs.model.gateway import ANY_NAMESPACE, Server, ServerTlsMode
from libs.model.ids import Ref
from libs.model.service import Protocol, Resolution
from libs.model.traffic import Routing, StreamRoute, TrafficPolicy, WeightedDestination
from libs.proxy.gateways import bound_hosts
from libs.proxy.node import Families, ProxyType
from libs.proxy.routings import at_gateway
from libs.proxy.scope import BoundServer, GatewayListener, OutboundScope, ProxyScope
from libs.xds import names
from libs.xds.generate import (
    accepting,
    connection_policies,
    dynamic_dns,
    endpoints,
    extensions,
    gateway_routes,
    listener_filters,
    provenance,
    proxy_headers,
    sni_clusters,
    tcp,
    telemetry,
    tls_gateway,
)
from libs.xds.generate.connection_manager import http_connection_manager
from libs.xds.generate.filters import alpn, cors, fault, grpc_web, order, security
from libs.xds.generate.outbound_places import WILDCARD, WILDCARD_IPV6
from libs.xds.generate.route_destinations import Destinations
from libs.xds.types import LISTENER, NamedResource, resource

_HANDSHAKE_SECONDS = 15
_HTTP_FILTERS = (alpn.FILTER, fault.FILTER, cors.FILTER)
_MESH_ALPN = (
    "istio",
    "istio-peer-exchange",
    "istio-http/1.0",
    "istio-http/1.1",
    "istio-h2",
)
_TLS = "tls"
_EVERYWHERE = {
    Families.IPV4: (WILDCARD,),
    Families.IPV6: (WILDCARD_IPV6,),
    Families.DUAL: (WILDCARD, WILDCARD_IPV6),
}


def generate(scope: ProxyScope) -> list[NamedResource]:
    """Return the listeners of a router by port; none for a sidecar, nor where nothing is served."""
    if scope.outbound.type is not ProxyType.ROUTER:
        return []
    builder = _Builder(scope)
    made = (builder.listener(planned) for planned in scope.outbound.gateways)
    return [one for one in made if one is not None]


class _Chain(NamedTuple):
    """What happens to connections that ask for one of some names; no names: to all others."""

    filters: Sequence[Filter]
    sni: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    tls: bool = False
    socket: TransportSocket | None = None
    source: Ref = Ref("")
    obeyed: tuple[Ref, ...] = ()  # what says how long connections last, and to whom they stick


class _Builder:
    """Builds the listeners of one router."""

    def __init__(self, scope: ProxyScope) -> None:
        self._outbound = scope.outbound
        self._own = scope.inbound
        self._destinations = Destinations(scope.outbound)
        self._requests = security.http_filters(scope)
        self._resolving = _resolving(scope.outbound)
        self._connections = security.network_filters(scope)

    def listener(self, planned: GatewayListener) -> NamedResource | None:
        """Return a listener, or None if no chain of it leads anywhere."""
        everywhere = _EVERYWHERE[self._outbound.families]
        address, *others = (planned.bind,) if planned.bind else everywhere
        name = names.listener(address, planned.port)
        chains = _distinct(list(self._chains(planned, name)))
        if not chains:
            return None
        found = EnvoyListener(
            name=name,
            address=endpoints.address(address, planned.port),
            traffic_direction=TrafficDirection.OUTBOUND,
            max_connections_to_accept_per_socket_event=accepting.ONE_AT_A_TIME,
            access_log=telemetry.listener_access_logs(self._own),
        )
        for other in others:
            where = endpoints.address(other, planned.port)
            found.additional_addresses.add().address.CopyFrom(where)
        found.filter_chains.extend(map(_message, chains))
        limits = proxy_headers.connections(self._own.settings.proxy.connections, router=True)
        if limits.listener_buffer is not None:
            found.per_connection_buffer_limit_bytes.value = limits.listener_buffer
        if self._own.settings.proxy.accept_proxy_protocol:
            found.listener_filters.append(listener_filters.proxy_protocol())
        if any(chain.tls for chain in chains):
            found.listener_filters.append(listener_filters.tls_inspector())
        body = found.SerializeToString(deterministic=True)
        return resource(name, LISTENER, body=body, sources=self._sources(planned, chains))

    def _sources(self, planned: GatewayListener, chains: Iterable[_Chain]) -> Iterator[Ref]:
        yield self._own.settings.ref
        yield from (policy.ref for policy in self._own.policies)
        yield from (extension.ref for extension in self._own.extensions)
        yield from (bound.ref for bound in planned.servers)
        for chain in chains:
            yield chain.source
            yield from chain.obeyed

    def _chains(self, planned: GatewayListener, listener: str) -> Iterator[_Chain]:
        first = planned.servers[0]
        if first.server.tls is None and first.server.routes_requests:
            yield _Chain(self._http(planned, first, listener), source=first.ref)
            return
        for bound in planned.servers:
            if bound.server.routes_requests:
                yield self._ended(bound, self._http(planned, bound, listener))
            elif bound.server.tls is None or bound.server.terminates:
                yield from self._streams(bound)
            elif bound.server.tls.mode is ServerTlsMode.AUTO_PASSTHROUGH:
                yield from self._by_cluster(bound)
            else:
                yield from self._passed(bound)

    def _ended(self, bound: BoundServer, filters: Sequence[Filter]) -> _Chain:
        """Return the chain of a server for itself; TLS ends in it, if there is any."""
        server = bound.server
        if server.tls is None:
            return _Chain(filters, source=bound.ref)
        sni = tuple(host.name for host in server.hosts)
        socket = tls_gateway.server_tls(
            server,
            server.tls,
            self._own.settings,
            external=self._outbound.external_secrets,
        )
        return _Chain(filters, sni=sni, tls=True, socket=socket, source=bound.ref)

    def _http(self, planned: GatewayListener, bound: BoundServer, listener: str) -> list[Filter]:
        server = bound.server
        prefix = server.name or f"outbound_{listener}"
        sharing = (bound,) if server.tls else planned.servers  # one chain is for all in clear text
        spoken = {one.server.protocol for one in sharing}
        web = [grpc_web.FILTER] if Protocol.GRPC_WEB in spoken else []
        manager = http_connection_manager(
            own=self._own,
            direction="outbound",
            stat_prefix=names.stat_prefix(prefix),
            routes=gateway_routes.name_of(planned, bound),
            filters=[*self._requests, *web, *_HTTP_FILTERS, *self._resolving],
            service_port=server.number,
        )
        return order.network([manager], self._added(server))

    def _added(self, server: Server) -> Iterator[tuple[Phase, Filter]]:
        return extensions.network_filters(self._own, "outbound", server.number)

    def _streams(self, bound: BoundServer) -> Iterator[_Chain]:
        """Yield the chain of a server that carries bytes: the first rule for its port decides."""
        for routing in self._routings(bound):
            if not bound_hosts(bound.server, routing):
                continue
            for rule in routing.tcp:
                if _is_for(rule, bound.server):
                    chain = self._ended(bound, self._forward(routing, rule, bound.server))
                    obeyed = self._obeyed(rule, bound.server)
                    yield chain._replace(source=routing.ref, obeyed=obeyed)
                    return

    def _passed(self, bound: BoundServer) -> Iterator[_Chain]:
        for routing in self._routings(bound):
            for rule in routing.tls:
                for match in rule.matches:
                    sni = _within(match.sni_hosts, bound.server, routing)
                    if sni and match.port in {0, bound.server.number}:
                        filters = self._forward(routing, rule, bound.server)
                        obeyed = self._obeyed(rule, bound.server)
                        yield _Chain(filters, sni=sni, tls=True, source=routing.ref, obeyed=obeyed)

    def _by_cluster(self, bound: BoundServer) -> Iterator[_Chain]:
        for name, policy, scoped in sni_clusters.of_server(self._outbound, bound.server):
            # TLS passes through unread, so no policy could know who calls: the server's own does.
            # Nor is it wrapped again: what the tunnel is for, the caller's own proxy did.
            proxy = self._proxy(name, {name: 0}, structs.replace(policy, tunnel=None))
            filters = order.network([proxy], self._added(bound.server))
            yield _Chain(
                filters,
                sni=(name,),
                protocols=_MESH_ALPN,
                tls=True,
                source=scoped.service.ref,
                obeyed=connection_policies.sources(policy, scoped),
            )

    def _routings(self, bound: BoundServer) -> Iterator[Routing]:
        for routing in self._outbound.routings:
            if bound.gateway in routing.gateways:
                yield at_gateway(routing, bound.gateway)

    def _forward(self, routing: Routing, rule: StreamRoute, server: Server) -> list[Filter]:
        weights = self._weights(rule.destinations, server.number)
        single = len(weights) == 1
        prefix = next(iter(weights)) if single else f"{routing.name}.{routing.namespace}"
        proxy = self._proxy(prefix, weights, self._policy(rule, server))
        return order.network([*self._connections, proxy], self._added(server))

    def _policy(self, rule: StreamRoute, server: Server) -> TrafficPolicy | None:
        first = rule.destinations[0].destination if rule.destinations else None
        return self._destinations.policy(first, server.number) if first else None

    def _obeyed(self, rule: StreamRoute, server: Server) -> tuple[Ref, ...]:
        if not rule.destinations:
            return ()
        called = self._destinations.find(rule.destinations[0].destination.host)
        return connection_policies.sources(self._policy(rule, server), called)

    def _weights(self, destinations: Sequence[WeightedDestination], port: int) -> dict[str, int]:
        weights: dict[str, int] = {}
        for one in destinations:
            if one.weight or len(destinations) == 1:
                name = str(self._destinations.cluster(one.destination, port))
                weights[name] = weights.get(name, 0) + one.weight
        return weights or {names.BLACK_HOLE_CLUSTER: 0}

    def _proxy(self, prefix: str, weights: dict[str, int], policy: TrafficPolicy | None) -> Filter:
        single = len(weights) == 1
        pool = policy.connection_pool if policy else None
        return tcp.tcp_proxy(
            own=self._own,
            direction="outbound",
            stat_prefix=prefix,
            cluster=next(iter(weights)) if single else "",
            weighted=None if single else weights,
            idle_timeout=pool.tcp_idle_timeout if pool else None,
            max_duration=pool.max_connection_duration if pool else None,
            hash_by_source=connection_policies.by_source(policy),
            tunnel=policy.tunnel if policy else None,
        )


def _resolving(scope: OutboundScope) -> list[hcm.HttpFilter]:
    """Return the filter that asks DNS for the host of requests, if a service needs it."""
    needed = any(one.service.resolution is Resolution.DYNAMIC_DNS for one in scope.services)
    return [dynamic_dns.http_filter(scope.settings, scope.families)] if needed else []


def _is_for(rule: StreamRoute, server: Server) -> bool:
    return not rule.matches or any(match.port in {0, server.number} for match in rule.matches)


def _within(sni: Iterable[str], server: Server, routing: Routing) -> tuple[str, ...]:
    """Return the names that a rule matches, narrowed to those that the server may answer to."""
    found: dict[str, None] = {}
    for mine in server.hosts:
        if mine.namespace not in {ANY_NAMESPACE, routing.namespace}:
            continue
        for name in sni:
            if hosts.matches(mine.name, name):
                found[name] = None
            elif hosts.matches(name, mine.name):
                found[mine.name] = None
    return tuple(found)


def _distinct(chains: Iterable[_Chain]) -> list[_Chain]:
    """Return chains without the names that an earlier one has: Envoy refuses two for one name."""
    taken: set[tuple[str, tuple[str, ...]]] = set()
    found: list[_Chain] = []
    for chain in chains:
        sni = [name for name in chain.sni or ("*",) if (name, chain.protocols) not in taken]
        if not sni:
            continue
        # Beside the wildcard for all, no other name means anything.
        taken.update((name, chain.protocols) for name in sni)
        found.append(chain._replace(sni=() if "*" in sni else tuple(sni)))
    return found


def _message(chain: _Chain) -> FilterChain:
    found = FilterChain(filters=chain.filters)
    found.transport_socket_connect_timeout.FromSeconds(_HANDSHAKE_SECONDS)
    if chain.tls:
        found.filter_chain_match.transport_protocol = _TLS
        found.filter_chain_match.server_names.extend(sorted(chain.sni))
        found.filter_chain_match.application_protocols.extend(chain.protocols)
    if chain.socket is not None:
        found.transport_socket.CopyFrom(chain.socket)
    if chain.source:
        found.metadata.CopyFrom(provenance.metadata(chain.source))
    return found
