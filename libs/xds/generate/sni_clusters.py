"""Clusters by server name: for servers that pass TLS on to the cluster that its SNI names.

Such a server lets other networks call services of this one without ending their TLS. It reaches
those services that the router sees, that are of the mesh, and that one of its hosts covers; nothing
else has a cluster, so no name that a client makes up leads anywhere.
"""

from collections.abc import Iterator

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from google.protobuf.duration_pb2 import Duration

from libs.model.gateway import Server
from libs.model.service import Protocol
from libs.model.traffic import TrafficPolicy
from libs.proxy import locality
from libs.proxy.gateways import passed_by_name, passes_by_name
from libs.proxy.scope import OutboundScope, ScopedService
from libs.xds import names
from libs.xds.generate import connection_pool, load_balancing
from libs.xds.types import CLUSTER, NamedResource, resource

_ADS = ConfigSource(
    ads=AggregatedConfigSource(),
    initial_fetch_timeout=Duration(),
    resource_api_version=ApiVersion.V3,
)


def generate(scope: OutboundScope) -> list[NamedResource]:
    """Return the clusters that a router's servers pass TLS on to; mostly none."""
    return [
        _resource(scope, scoped, name=name, policy=policy)
        for scoped in scope.services
        if passed_by_name(scope, scoped)
        for name, policy in _named(scoped)
    ]


def of_server(
    scope: OutboundScope, server: Server
) -> Iterator[tuple[str, TrafficPolicy, ScopedService]]:
    """Yield the clusters that one server passes on to, each with its policy and service."""
    for scoped in scope.services:
        if passes_by_name(server, scoped):
            yield from ((name, policy, scoped) for name, policy in _named(scoped))


def _named(scoped: ScopedService) -> Iterator[tuple[str, TrafficPolicy]]:
    for port in scoped.service.ports:
        if port.protocol is not Protocol.UDP:
            for subset in scoped.subsets:
                name = names.ClusterName(port.number, subset.name, scoped.service.host)
                yield name.sni, subset.policies[port.number]


def _resource(
    scope: OutboundScope, scoped: ScopedService, *, name: str, policy: TrafficPolicy
) -> NamedResource:
    cluster = Cluster(name=name, type=Cluster.DiscoveryType.EDS)
    cluster.alt_stat_name = names.stat_prefix(name)
    cluster.eds_cluster_config.eds_config.CopyFrom(_ADS)
    cluster.eds_cluster_config.service_name = name
    connection_pool.limit(cluster, policy.connection_pool, scope.settings)
    connection_pool.detect_outliers(cluster, policy.outlier_detection)
    if locality.in_force(scoped.service, policy, scope.settings).weighted:
        cluster.common_lb_config.locality_weighted_lb_config.SetInParent()
    load_balancing.balance(cluster, policy.load_balancing)
    body = cluster.SerializeToString(deterministic=True)
    return resource(name, CLUSTER, body=body, sources=scoped.refs)
