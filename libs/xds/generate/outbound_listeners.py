"""Outbound listeners: what a proxy does with connections that its application opens.

With interception everything arrives at `virtualOutbound`, which hands a connection to the listener
of the address that was dialled, if there is one. Those listeners bind to nothing. Without
interception they are real, at the proxy's outbound address. Which listeners there are, and which
services share one, is decided by the plan.
"""

from functools import partial

from envoy.config.core.v3.address_pb2 import CidrRange
from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import AdditionalAddress
from envoy.config.listener.v3.listener_pb2 import Listener as EnvoyListener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from google.protobuf.duration_pb2 import Duration

from libs.model.ids import Ref
from libs.model.service import Protocol, Resolution
from libs.model.settings import MeshSettings
from libs.proxy.memo import WeakMemo
from libs.proxy.node import Interception, ProxyType
from libs.proxy.scope import InboundScope, OutboundScope, ProxyScope
from libs.xds import names
from libs.xds.generate import (
    accepting,
    dynamic_dns,
    egress,
    elsewhere,
    endpoints,
    extensions,
    listener_filters,
    narrow,
    outbound_places,
    outbound_plan,
    provenance,
    routes,
    tcp,
    telemetry,
    typed,
)
from libs.xds.generate.connection_manager import http_connection_manager
from libs.xds.generate.filters import alpn, cors, fault, grpc_web, matchers, order
from libs.xds.generate.outbound_plan import WILDCARD, Listener
from libs.xds.generate.stream_chains import Chain, RouteName
from libs.xds.types import LISTENER, NamedResource, resource

PASSTHROUGH_CHAIN = "PassthroughFilterChain"
BLACK_HOLE_CHAIN = "virtualOutbound-blackhole"
CATCH_ALL_CHAIN = "virtualOutbound-catchall-tcp"
_HANDSHAKE_SECONDS = 15
_DETECTION = 5_000  # milliseconds that a server may be silent before it speaks first
_HTTP_FILTERS = (alpn.FILTER, fault.FILTER, cors.FILTER)

_memo: WeakMemo[list[NamedResource]] = WeakMemo()


def generate(scope: ProxyScope) -> list[NamedResource]:
    """Return the outbound listeners of `scope` by address and port, then the virtual one."""
    outbound = scope.outbound
    if outbound.type is not ProxyType.SIDECAR:
        return []
    context = (*_whose(scope.inbound), scope.inbound.settings)
    narrowed = narrow.for_listeners(outbound)
    return _memo.get(narrowed, context, partial(_generate, narrowed, scope.inbound))


def _whose(own: InboundScope) -> tuple[object, ...]:
    """Return all that listeners know of their own workload: what telemetry says, and filters."""
    labels = (f"{key}={value}" for key, value in sorted(own.labels.items()))
    return (
        own.namespace,
        own.service_account,
        own.workload_name,
        own.canonical_name,
        own.canonical_revision,
        " ".join(labels),
        extensions.placement(own),
        repr(own.telemetry),
        own.http10,
        own.idle_timeout,
    )


def _generate(scope: OutboundScope, own: InboundScope) -> list[NamedResource]:
    builder = _Builder(scope, own)
    added = [extension.ref for extension in own.extensions]
    found = [
        _resource(builder.listener(planned), *planned.sources, *added)
        for planned in outbound_plan.plan(scope).listeners
    ]
    if scope.interception is not Interception.NONE:
        found.append(_resource(builder.virtual(), scope.settings.ref))
    return found


class _Builder:
    """Builds the listeners of one scope and workload."""

    def __init__(self, scope: OutboundScope, own: InboundScope) -> None:
        self._scope = scope
        self._own = own
        self._elsewhere = self._to(elsewhere.cluster(scope) or names.BLACK_HOLE_CLUSTER)

    def listener(self, planned: Listener) -> EnvoyListener:
        """Return one planned listener."""
        found = EnvoyListener(
            name=names.listener(planned.address, planned.port),
            address=endpoints.address(planned.address, planned.port),
            traffic_direction=TrafficDirection.OUTBOUND,
            continue_on_listener_filters_timeout=True,
        )
        for other in planned.others:
            found.additional_addresses.add().address.CopyFrom(
                endpoints.address(other, planned.port)
            )
        if planned.bound:
            found.max_connections_to_accept_per_socket_event.CopyFrom(accepting.ONE_AT_A_TIME)
        else:
            found.bind_to_port.value = False
        self._add_chains(found, planned)
        _inspect(found, planned, self._scope.settings)
        return found

    def virtual(self) -> EnvoyListener:
        """Return the listener that interception sends everything to."""
        place, port = outbound_places.anywhere(self._scope), self._scope.settings.outbound_port
        found = EnvoyListener(
            name=names.VIRTUAL_OUTBOUND,
            address=endpoints.address(place.address, port),
            additional_addresses=[
                AdditionalAddress(address=endpoints.address(other, port)) for other in place.others
            ],
            traffic_direction=TrafficDirection.OUTBOUND,
            max_connections_to_accept_per_socket_event=accepting.ONE_AT_A_TIME,
            access_log=telemetry.listener_access_logs(self._own),
        )
        found.use_original_dst.value = True
        if self._scope.interception is Interception.TPROXY:
            found.transparent.value = True
        # Whoever dials the listener itself would be sent back to it for ever.
        own_port = found.filter_chains.add(
            name=BLACK_HOLE_CHAIN, filters=[self._to(names.BLACK_HOLE_CLUSTER)]
        )
        own_port.filter_chain_match.destination_port.value = port
        if self._scope.dynamic_dns:
            self._look_for_requests(found)
        found.filter_chains.add(name=CATCH_ALL_CHAIN, filters=[self._elsewhere])
        return found

    def _look_for_requests(self, found: EnvoyListener) -> None:
        """Send requests to addresses that nobody declared where DNS has their hosts."""
        filters = [*_HTTP_FILTERS, self._dynamic_dns()]
        asked = found.filter_chains.add(name=routes.DYNAMIC_DNS)
        asked.filter_chain_match.transport_protocol = outbound_plan.RAW_BUFFER
        asked.filter_chain_match.application_protocols.extend(outbound_plan.PLAINTEXT_HTTP)
        asked.filters.append(
            http_connection_manager(
                own=self._own,
                direction="outbound",
                stat_prefix=names.stat_prefix(names.DYNAMIC_DNS_CLUSTER),
                routes=RouteConfiguration(
                    name=routes.DYNAMIC_DNS, virtual_hosts=[routes.catch_all(self._scope)]
                ),
                filters=filters,
            )
        )
        found.listener_filters.append(listener_filters.http_inspector())
        found.continue_on_listener_filters_timeout = True
        waits = self._scope.settings.protocol_detection_timeout or _DETECTION
        found.listener_filters_timeout.CopyFrom(typed.milliseconds(waits))

    def _add_chains(self, found: EnvoyListener, planned: Listener) -> None:
        rest: FilterChain | None = None
        for chain in planned.chains:
            made = self._chain(chain, found.name)
            if chain.match.takes_all:
                rest = made
            else:
                _restrict(made, chain)
                found.filter_chains.append(made)
        if rest is None:
            passed = found.default_filter_chain
            passed.name = PASSTHROUGH_CHAIN
            passed.filter_chain_match.SetInParent()
            passed.filters.append(self._elsewhere)
        elif found.filter_chains:
            found.default_filter_chain.CopyFrom(rest)
        else:
            found.filter_chains.append(rest)

    def _chain(self, chain: Chain, listener: str) -> FilterChain:
        found = FilterChain()
        found.transport_socket_connect_timeout.FromSeconds(_HANDSHAKE_SECONDS)
        if chain.source:
            found.metadata.CopyFrom(provenance.metadata(chain.source))
        if chain.routes is not None:
            port, own = chain.routes.asked, [self._http(chain, chain.routes, listener)]
        else:
            port, own = chain.port, self._streams(chain)
        added = extensions.network_filters(self._own, "outbound", port)
        found.filters.extend(order.network(own, added))
        return found

    def _http(self, chain: Chain, routes: RouteName, listener: str) -> Filter:
        web = [grpc_web.FILTER] if chain.protocol is Protocol.GRPC_WEB else []
        return http_connection_manager(
            own=self._own,
            direction="outbound",
            stat_prefix=names.stat_prefix(f"outbound_{listener}"),
            routes=str(routes),
            filters=[*web, *_HTTP_FILTERS, *self._resolving(routes)],
            service_port=routes.asked,
            http1=self._only_http1(chain, routes),
        )

    def _only_http1(self, chain: Chain, routes: RouteName) -> bool:
        """Tell whether each service that is asked here declares its port as HTTP/1: none is gRPC.

        Where routes send requests then is not looked at: listeners would change with every route.
        """
        if routes.every or not routes.port:
            return False
        if routes.service:
            return chain.protocol is Protocol.HTTP
        asked = (one.service for one in egress.behind(self._scope, routes).services)
        declared = {port.protocol for one in asked if (port := one.port(routes.port))}
        return {protocol for protocol in declared if protocol.is_http} == {Protocol.HTTP}

    def _resolving(self, routes: RouteName) -> list[hcm.HttpFilter]:
        """Return the filter that asks DNS for the host of requests, if any of them may need it."""
        scope = self._scope
        asked = (one.service for one in egress.behind(scope, routes).services)
        needed = (scope.dynamic_dns and not routes.service) or any(
            service.resolution is Resolution.DYNAMIC_DNS
            and (routes.every or not routes.port or service.port(routes.port) is not None)
            for service in asked
        )
        return [self._dynamic_dns()] if needed else []

    def _dynamic_dns(self) -> hcm.HttpFilter:
        return dynamic_dns.http_filter(self._scope.settings, self._scope.families)

    def _streams(self, chain: Chain) -> list[Filter]:
        single = len(chain.clusters) == 1
        pool = chain.pool
        forward = tcp.tcp_proxy(
            own=self._own,
            direction="outbound",
            stat_prefix=chain.stat_prefix,
            cluster=chain.clusters[0][0] if single else "",
            weighted=None if single else dict(chain.clusters),
            idle_timeout=pool.tcp_idle_timeout if pool else None,
            max_duration=pool.max_connection_duration if pool else None,
            hash_by_source=chain.hash_by_source,
            tunnel=chain.tunnel,
        )
        if chain.resolve_port:
            scope = self._scope
            resolve = dynamic_dns.network_filter(
                scope.settings, scope.families, port=chain.resolve_port
            )
            return [resolve, forward]
        if chain.protocol is not Protocol.MONGO:
            return [forward]
        return [tcp.mongo(chain.stat_prefix), forward]

    def _to(self, cluster: str) -> Filter:
        return tcp.tcp_proxy(
            own=self._own, direction="outbound", stat_prefix=cluster, cluster=cluster
        )


def _restrict(found: FilterChain, chain: Chain) -> None:
    match = found.filter_chain_match
    match.SetInParent()
    if "*" not in chain.match.sni:
        match.server_names.extend(sorted(chain.match.sni))
    match.prefix_ranges.extend(_ranges(chain.match.subnets))
    match.application_protocols.extend(chain.match.protocols)
    match.transport_protocol = chain.match.transport


def _ranges(subnets: tuple[str, ...]) -> list[CidrRange]:
    found = (matchers.cidr(subnet) for subnet in sorted(subnets))
    return [block for block in found if block is not None and block.address_prefix != WILDCARD]


def _inspect(found: EnvoyListener, planned: Listener, settings: MeshSettings) -> None:
    """Look at first bytes only where a chain asks for what they say, and do not wait for them."""
    matches = [chain.match for chain in planned.chains]
    if any(match.sni for match in matches):
        found.listener_filters.append(listener_filters.tls_inspector())
    sniffs = any(match.protocols for match in matches)
    if sniffs:
        found.listener_filters.append(listener_filters.http_inspector())
    waits = settings.protocol_detection_timeout if sniffs else 0
    found.listener_filters_timeout.CopyFrom(typed.milliseconds(waits) if waits else Duration())


def _resource(listener: EnvoyListener, *sources: Ref) -> NamedResource:
    body = listener.SerializeToString(deterministic=True)
    return resource(listener.name, LISTENER, body=body, sources=sources)
