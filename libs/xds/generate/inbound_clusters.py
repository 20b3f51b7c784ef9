"""Inbound clusters: the workload itself, `inbound|<port>||` for each port that a service exposes.

With interception the proxy connects to the address that the client dialled, from 127.0.0.6: that
source address tells the interception rules to leave the connection alone. Without it the proxy
connects to the address where the application listens.
"""

from collections.abc import Iterable
from ipaddress import ip_address

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import BindConfig, SocketAddress
from envoy.config.core.v3.base_pb2 import Metadata
from envoy.config.endpoint.v3.endpoint_components_pb2 import (
    Endpoint,
    LbEndpoint,
    LocalityLbEndpoints,
)
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct

from libs.model.ids import Ref
from libs.model.service import Protocol, Service
from libs.model.settings import MeshSettings
from libs.model.traffic import ConnectionPool
from libs.proxy.node import Families, Interception, ProxyType
from libs.proxy.scope import InboundPort, InboundScope
from libs.xds import names
from libs.xds.generate import connection_pool, endpoints, stat_names
from libs.xds.types import CLUSTER, NamedResource, resource

PASSTHROUGH_SOURCE = "127.0.0.6"
PASSTHROUGH_SOURCE_IPV6 = "::6"
_SOURCES = {
    Families.IPV4: (PASSTHROUGH_SOURCE,),
    Families.IPV6: (PASSTHROUGH_SOURCE_IPV6,),
    Families.DUAL: (PASSTHROUGH_SOURCE, PASSTHROUGH_SOURCE_IPV6),
}

_LOOPBACK = "127.0.0.1"
_FOR_EVER = Duration(seconds=0x7FFFFFFF)


def generate(scope: InboundScope) -> list[NamedResource]:
    """Return the inbound clusters of `scope`, ordered by port; none for a gateway."""
    if scope.type is not ProxyType.SIDECAR:
        return []
    exposed = [_exposed(scope, port, port.service) for port in scope.ports if port.service]
    if scope.interception is Interception.NONE:
        return exposed
    return [*exposed, _passthrough(scope)]


def _exposed(scope: InboundScope, port: InboundPort, service: Service) -> NamedResource:
    cluster = _cluster(names.inbound_cluster(port.port), scope.settings, port.pool)
    _set_protocol(cluster, port, scope.settings)
    cluster.metadata.CopyFrom(_metadata([service]))
    if scope.settings.inbound_stat_name:
        cluster.alt_stat_name = stat_names.inbound(scope.settings, service, port)
    if port.endpoint:
        _lead_to(cluster, port.endpoint, port.endpoint_port)
        if scope.interception is not Interception.NONE and _is_redirected(port.endpoint):
            _leave_alone(cluster, scope.families)
    elif scope.interception is Interception.NONE:
        _lead_to(cluster, scope.application_address, port.port)
    elif not scope.settings.passthrough_inbound:
        _lead_to(cluster, _LOOPBACK, port.port)
    else:
        _lead_onward(cluster, scope.families)
        # The default would forget the only host of a workload that is seldom called.
        cluster.cleanup_interval.CopyFrom(_FOR_EVER)
    return _named(cluster, [scope.settings.ref, service.ref, *port.pool_refs])


def _passthrough(scope: InboundScope) -> NamedResource:
    default = scope.settings.default_policy
    pool = default.connection_pool if default else None
    cluster = _cluster(names.INBOUND_PASSTHROUGH_CLUSTER, scope.settings, pool)
    _lead_onward(cluster, scope.families)
    options = connection_pool.passthrough_options()
    keep_case = scope.settings.proxy.headers.keep_case
    connection_pool.set_http_options(cluster, options, keep_case=keep_case)
    return _named(cluster, [scope.settings.ref])


def _cluster(name: str, settings: MeshSettings, pool: ConnectionPool | None = None) -> Cluster:
    cluster = Cluster(
        name=name, alt_stat_name=f"{name};", common_lb_config=Cluster.CommonLbConfig()
    )
    connection_pool.limit(cluster, pool, settings)
    return cluster


def _lead_onward(cluster: Cluster, families: Families) -> None:
    """Connect to the address that the client dialled."""
    cluster.type = Cluster.DiscoveryType.ORIGINAL_DST
    cluster.lb_policy = Cluster.LbPolicy.CLUSTER_PROVIDED
    _leave_alone(cluster, families)


def _is_redirected(address: str) -> bool:
    """Tell whether interception would send connections to `address` back to the proxy."""
    return not address.startswith("unix://") and not ip_address(address).is_loopback


def _leave_alone(cluster: Cluster, families: Families) -> None:
    """Connect from the address that the interception rules leave alone."""
    first, *others = _SOURCES[families]
    found = cluster.upstream_bind_config
    found.CopyFrom(BindConfig(source_address=SocketAddress(address=first, port_value=0)))
    for other in others:
        found.extra_source_addresses.add(address=SocketAddress(address=other, port_value=0))


def _lead_to(cluster: Cluster, address: str, port: int) -> None:
    """Connect to one address."""
    only = LbEndpoint(endpoint=Endpoint(address=endpoints.address(address, port)))
    cluster.type = Cluster.DiscoveryType.STATIC
    cluster.load_assignment.CopyFrom(
        ClusterLoadAssignment(
            cluster_name=cluster.name, endpoints=[LocalityLbEndpoints(lb_endpoints=[only])]
        )
    )


def _set_protocol(cluster: Cluster, port: InboundPort, settings: MeshSettings) -> None:
    """Speak to the application what it said it speaks, or else what the client spoke."""
    protocol, pool = port.protocol, port.pool
    http2 = protocol.is_http2 or protocol is Protocol.GRPC_WEB
    sniffed = protocol is Protocol.AUTO
    options = connection_pool.http_options(protocol, pool, http2=http2, sniffed=sniffed)
    keep_case = (protocol.is_http or sniffed) and settings.proxy.headers.keep_case
    connection_pool.set_http_options(cluster, options, keep_case=keep_case)


def _metadata(services: Iterable[Service]) -> Metadata:
    """Return the services that telemetry names for a cluster."""
    described = [
        {"host": one.host, "name": one.name, "namespace": one.namespace} for one in services
    ]
    istio = Struct()
    istio.update({"services": described})
    return Metadata(filter_metadata={"istio": istio})


def _named(cluster: Cluster, sources: Iterable[Ref]) -> NamedResource:
    body = cluster.SerializeToString(deterministic=True)
    return resource(cluster.name, CLUSTER, body=body, sources=sources)
