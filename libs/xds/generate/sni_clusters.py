"""Clusters by server name: for servers that pass TLS on to the cluster that its SNI names.

Such a server lets other networks call services of this one without ending their TLS. It reaches
those services that the router sees, that are of the mesh, and that one of its hosts covers; nothing
else has a cluster, so no name that a client makes up leads anywhere. Nobody but a sidecar could end
the caller's TLS: of names that DNS resolves, only those count whose labels say that they have one.
"""

from collections.abc import Iterator

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from google.protobuf.duration_pb2 import Duration
from msgspec import structs

from libs.model.gateway import Server
from libs.model.service import Protocol, ServicePort
from libs.model.traffic import TrafficPolicy
from libs.proxy import locality
from libs.proxy.endpoints import entered_by_name, of_names
from libs.proxy.gateways import passed_by_name, passes_by_name
from libs.proxy.scope import EndpointScope, OutboundScope, ScopedService, ScopedSubset
from libs.xds import names
from libs.xds.generate import connection_pool, dns_names, load_balancing
from libs.xds.types import CLUSTER, NamedResource, resource

_ADS = ConfigSource(
    ads=AggregatedConfigSource(),
    initial_fetch_timeout=Duration(),
    resource_api_version=ApiVersion.V3,
)


_EDS = Cluster.DiscoveryType.EDS


def generate(scope: OutboundScope) -> list[NamedResource]:
    """Return the clusters that a router's servers pass TLS on to; mostly none."""
    return [
        _resource(scope, scoped, port=port, subset=subset)
        for scoped in scope.services
        if passed_by_name(scope, scoped)
        for port, subset in _parts(scope, scoped)
    ]


def of_server(
    scope: OutboundScope, server: Server
) -> Iterator[tuple[str, TrafficPolicy, ScopedService]]:
    """Yield the clusters that one server passes on to, each with its policy and service."""
    for scoped in scope.services:
        if passes_by_name(server, scoped):
            for port, subset in _parts(scope, scoped):
                yield _name(scoped, port, subset), subset.policies[port.number], scoped


def _parts(
    scope: OutboundScope, scoped: ScopedService
) -> Iterator[tuple[ServicePort, ScopedSubset]]:
    """Yield the ports of a service with each subset that can be called there."""
    for port in scoped.service.ports:
        for subset in scoped.subsets if port.protocol is not Protocol.UDP else ():
            by_name = dns_names.resolved(scoped.service)
            if not by_name or _chosen(scope, scoped, port, subset).endpoints:
                yield port, subset


def _chosen(  # noqa: PLR0917 - which cluster, for whom
    scope: OutboundScope, scoped: ScopedService, port: ServicePort, subset: ScopedSubset
) -> EndpointScope:
    """Return the names behind which somebody ends the caller's mesh TLS."""
    found = of_names(scope, scoped, port, subset)
    ending = tuple(endpoint for endpoint in found.endpoints if endpoint.mtls)
    return structs.replace(found, endpoints=ending, mesh_tls=False)


def _name(scoped: ScopedService, port: ServicePort, subset: ScopedSubset) -> str:
    return names.ClusterName(port.number, subset.name, scoped.service.host).sni


def _resource(
    scope: OutboundScope, scoped: ScopedService, *, port: ServicePort, subset: ScopedSubset
) -> NamedResource:
    name, policy = _name(scoped, port, subset), subset.policies[port.number]
    cluster = Cluster(name=name, type=dns_names.KINDS.get(scoped.service.resolution, _EDS))
    cluster.alt_stat_name = names.stat_prefix(name)
    if dns_names.resolved(scoped.service):
        dns_names.resolve(cluster, scope, _chosen(scope, scoped, port, subset))
    else:
        cluster.eds_cluster_config.eds_config.CopyFrom(_ADS)
        cluster.eds_cluster_config.service_name = name
    connection_pool.limit(cluster, policy.connection_pool, scope.settings)
    connection_pool.detect_outliers(cluster, policy.outlier_detection)
    if locality.in_force(scoped.service, policy, scope.settings).weighted:
        cluster.common_lb_config.locality_weighted_lb_config.SetInParent()
    load_balancing.balance(cluster, policy.load_balancing)
    body = cluster.SerializeToString(deterministic=True)
    refs = (*scoped.refs, *entered_by_name(scope, scoped))
    return resource(name, CLUSTER, body=body, sources=refs)
