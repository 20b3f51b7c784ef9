"""Inbound listeners: what a workload's proxy lets in, port by port.

With interception everything arrives at one listener, `virtualInbound`. Its chains are those of the
ports that services expose (`0.0.0.0_<port>`), those of all other ports (`virtualInbound` and
`virtualInbound-catchall-http`, which lead to where the client meant to go), and a black hole for
the listener's own port, which would lead back to itself. Without interception each exposed port
has a listener of its own, `<address>_<port>`, with the same chains.

Which ports there are, their mTLS modes and policies: `libs.proxy.inbound`.
"""

from collections.abc import Iterable, Iterator, Sequence

from envoy.config.core.v3.address_pb2 import Address
from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import (
    Filter,
    FilterChain,
    FilterChainMatch,
)
from envoy.config.listener.v3.listener_pb2 import AdditionalAddress, Listener
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from libs.model.extensions import Phase
from libs.model.gateway import Server
from libs.model.ids import Ref
from libs.model.service import Protocol, Service
from libs.proxy.node import Families, Interception, ProxyType
from libs.proxy.scope import InboundPort, ProxyScope
from libs.xds import names
from libs.xds.generate import (
    accepting,
    endpoints,
    extensions,
    inbound_matches,
    inbound_routes,
    listener_filters,
    tcp,
    telemetry,
    tls_gateway,
    tls_server,
    typed,
)
from libs.xds.generate.connection_manager import http_connection_manager
from libs.xds.generate.filters import cors, fault, grpc_web, order, peer_metadata, security
from libs.xds.generate.inbound_matches import ChainKind
from libs.xds.types import LISTENER, NamedResource, resource

_ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - interception redirects only this workload's connections
_ANY_IPV6 = "::"
# No route of ours sets them here, but users' patches do, and find their place by them.
_HTTP_FILTERS = (fault.FILTER, cors.FILTER)
_ANY_ADDRESSES = {
    Families.IPV4: (_ANY_ADDRESS,),
    Families.IPV6: (_ANY_IPV6,),
    Families.DUAL: (_ANY_ADDRESS, _ANY_IPV6),
}


def generate(scope: ProxyScope) -> list[NamedResource]:
    """Return the inbound listeners of `scope`; none for a gateway."""
    inbound = scope.inbound
    if inbound.type is not ProxyType.SIDECAR:
        return []
    builder = _Builder(scope)
    explicit = inbound.interception is Interception.NONE
    bound = [
        _explicit(builder, port)
        for port in inbound.ports
        if port.service and (explicit or port.bound)
    ]
    return bound if explicit else [_virtual(builder), *bound]


class _Builder:
    """Chains of one workload; what is equal in all of them is made once."""

    def __init__(self, scope: ProxyScope) -> None:
        self.scope = scope.inbound
        self._http_policies = security.http_filters(scope)
        self._network_policies = security.network_filters(scope)
        self._http_tls = tls_server.mesh_tls(scope.inbound.settings, tls_server.HTTP_ALPN)
        self._tcp_tls = tls_server.mesh_tls(scope.inbound.settings, tls_server.TCP_ALPN)

    def chains(self, port: InboundPort) -> Iterator[FilterChain]:
        """Yield the chains of one port, or of all ports that have none when it is port 0."""
        tls = port.ended_tls
        kinds = inbound_matches.kinds(port.protocol, port.mode)
        for kind in inbound_matches.behind_tls(port.protocol) if tls else kinds:
            chain = FilterChain(
                name=_chain_name(port, kind),
                filter_chain_match=kind.match(port.port),
                filters=self._http(port) if kind.http else self._tcp(port),
            )
            if tls:
                chain.transport_socket.CopyFrom(
                    tls_gateway.server_tls(_server(port), tls, self.scope.settings)
                )
            elif kind.terminates:
                chain.filters.insert(0, peer_metadata.CERTIFIED)
                chain.transport_socket.CopyFrom(self._http_tls if kind.http else self._tcp_tls)
            yield chain

    def black_hole(self) -> FilterChain:
        """Return the chain that ends what was sent to the listener's own port."""
        own_port = UInt32Value(value=self.scope.settings.inbound_port)
        return FilterChain(
            name="virtualInbound-blackhole",
            filter_chain_match=FilterChainMatch(destination_port=own_port),
            filters=[self._proxy(names.BLACK_HOLE_CLUSTER)],
        )

    def _http(self, port: InboundPort) -> list[Filter]:
        cluster = _cluster(port)
        prefix = f"inbound_{_ANY_ADDRESS}_{port.port};" if port.service else f"{cluster};"
        manager = http_connection_manager(
            own=self.scope,
            direction="inbound",
            stat_prefix=prefix,
            filters=[*self._http_policies, *_translators(port.protocol), *_HTTP_FILTERS],
            routes=inbound_routes.route_config(
                cluster=cluster,
                service_port=port.port if port.ingress else port.service_port,
                protocol=port.protocol,
                retries=self.scope.settings.inbound_retries,
            ),
            port=port,
        )
        return order.network([manager], self._added(port))

    def _tcp(self, port: InboundPort) -> list[Filter]:
        proxy = self._proxy(_cluster(port), port.service)
        watching = [tcp.mongo(_cluster(port))] if port.protocol is Protocol.MONGO else []
        return order.network([*self._network_policies, *watching, proxy], self._added(port))

    def _added(self, port: InboundPort) -> Iterator[tuple[Phase, Filter]]:
        return extensions.network_filters(self.scope, "inbound", port.port)

    def _proxy(self, cluster: str, service: Service | None = None) -> Filter:
        return tcp.tcp_proxy(
            own=self.scope,
            direction="inbound",
            stat_prefix=cluster,
            cluster=cluster,
            service=service,
        )


def _virtual(builder: _Builder) -> NamedResource:
    scope = builder.scope
    rest = InboundPort(port=0, protocol=Protocol.AUTO, mode=scope.mode, mode_refs=scope.mode_refs)
    only_named = [port for port in scope.ports if not port.service]
    exposed = [port for port in scope.ports if port.service and not port.bound]
    ports = [rest, *only_named, *exposed]
    chains = [builder.black_hole(), *(chain for port in ports for chain in builder.chains(port))]
    listener = _listener(builder, names.VIRTUAL_INBOUND, chains)
    first, *others = _ANY_ADDRESSES[scope.families]
    listener.address.CopyFrom(_address(first, scope.settings.inbound_port))
    for other in others:
        address = _address(other, scope.settings.inbound_port)
        listener.additional_addresses.append(AdditionalAddress(address=address))
    restored = [listener_filters.original_destination()]
    if scope.interception is Interception.TPROXY:
        listener.transparent.CopyFrom(BoolValue(value=True))
        restored.append(listener_filters.original_source())
    listener.listener_filters.extend([*restored, *listener_filters.inspectors(chains)])
    return _named(listener, builder, ports)


def _explicit(builder: _Builder, port: InboundPort) -> NamedResource:
    chains = list(builder.chains(port))
    chosen = port.ingress.bind if port.ingress else ""
    anywhere = _ANY_ADDRESSES[builder.scope.families]
    first, *others = (chosen,) if chosen else builder.scope.addresses or anywhere
    listener = _listener(builder, f"{first}_{port.port}", chains)
    listener.address.CopyFrom(_address(first, port.port))
    for other in others:
        listener.additional_addresses.append(AdditionalAddress(address=_address(other, port.port)))
    listener.listener_filters.extend(listener_filters.inspectors(chains))
    return _named(listener, builder, [port])


def _listener(builder: _Builder, name: str, chains: Iterable[FilterChain]) -> Listener:
    settings = builder.scope.settings
    return Listener(
        name=name,
        filter_chains=chains,
        traffic_direction=TrafficDirection.INBOUND,
        listener_filters_timeout=typed.milliseconds(settings.protocol_detection_timeout),
        continue_on_listener_filters_timeout=True,
        max_connections_to_accept_per_socket_event=accepting.ONE_AT_A_TIME,
        access_log=telemetry.listener_access_logs(builder.scope),
    )


def _named(listener: Listener, builder: _Builder, ports: Iterable[InboundPort]) -> NamedResource:
    scope = builder.scope
    body = listener.SerializeToString(deterministic=True)
    sources: list[Ref] = [scope.settings.ref, *(policy.ref for policy in scope.policies)]
    sources.extend(policy.ref for policy in scope.tokens)
    sources.extend(extension.ref for extension in scope.extensions)
    for port in ports:
        sources.extend(port.mode_refs)
        if port.service:
            sources.append(port.service.ref)
    return resource(listener.name, LISTENER, body=body, sources=sources)


def _translators(protocol: Protocol) -> Sequence[hcm.HttpFilter]:
    return [grpc_web.FILTER] if protocol is Protocol.GRPC_WEB else []


def _cluster(port: InboundPort) -> str:
    return names.inbound_cluster(port.port) if port.service else names.INBOUND_PASSTHROUGH_CLUSTER


def _chain_name(port: InboundPort, kind: ChainKind) -> str:
    if port.service:
        return f"{_ANY_ADDRESS}_{port.port}"
    return "virtualInbound-catchall-http" if kind.http else names.VIRTUAL_INBOUND


def _address(host: str, port: int) -> Address:
    return endpoints.address(host, port)


def _server(port: InboundPort) -> Server:
    """Return a Sidecar's port as what it is to TLS: a server at an edge."""
    return Server(number=port.port, port_name="", protocol=port.protocol, hosts=())
