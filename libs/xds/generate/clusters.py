"""Clusters: one for each port of a service that a proxy may call, and for each subset of it.

Other rooms find a cluster only by its name, `outbound|<port>|<subset>|<host>`. What a policy says
at which port is merged already; why a service is visible is not decided here.
"""

from functools import partial
from typing import NamedTuple

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from google.protobuf.duration_pb2 import Duration

from libs.model.ids import Ref
from libs.model.service import Protocol, Resolution, Service, ServicePort
from libs.model.settings import MeshSettings
from libs.model.traffic import TrafficPolicy
from libs.proxy import locality
from libs.proxy.endpoints import entered_by_name, knows_original, of_names, passes_through
from libs.proxy.memo import WeakMemo
from libs.proxy.node import ProxyType
from libs.proxy.scope import OutboundScope, ScopedService, ScopedSubset
from libs.xds import names
from libs.xds.generate import (
    collectors,
    connection_pool,
    dns_names,
    dynamic_dns,
    load_balancing,
    narrow,
    provenance,
    sni_clusters,
    stat_names,
    tls_client,
)
from libs.xds.generate.filters import alpn
from libs.xds.types import CLUSTER, NamedResource, resource

_DiscoveryType = Cluster.DiscoveryType
_KINDS = {
    Resolution.ENDPOINTS: _DiscoveryType.EDS,
    Resolution.ORIGINAL: _DiscoveryType.ORIGINAL_DST,
    **dns_names.KINDS,
}
_BY_NAME = frozenset(dns_names.KINDS.values())
_ADS = ConfigSource(
    ads=AggregatedConfigSource(),
    initial_fetch_timeout=Duration(),
    resource_api_version=ApiVersion.V3,
)

_memo: WeakMemo[tuple[NamedResource, ...]] = WeakMemo()
_lists: WeakMemo[list[NamedResource]] = WeakMemo()


def generate(scope: OutboundScope) -> list[NamedResource]:
    """Return the outbound clusters of `scope`, by host, port and subset, then the special ones.

    Clusters of a service are made once for all scopes that hold it.
    """
    narrowed = narrow.for_clusters(scope)
    return _lists.get(narrowed, (), partial(_generate, narrowed))


def _generate(scope: OutboundScope) -> list[NamedResource]:
    context = (scope.type, knows_original(scope), scope.settings, scope.families)
    found = [
        cluster
        for scoped in scope.services
        for cluster in _memo.get(
            scoped,
            (*context, repr((scope.place, scope.ways))) if scoped.dns_endpoints else context,
            partial(_of_service, scope, scoped),
        )
    ]
    found.append(_resource(_black_hole(scope.settings), scope.settings.ref))
    found += sni_clusters.generate(scope)
    found += collectors.generate(scope)
    if scope.type is ProxyType.SIDECAR:
        found.append(_resource(_passthrough(scope.settings), scope.settings.ref))
        if scope.dynamic_dns:
            found.append(_resource(_by_any_name(scope), scope.settings.ref))
    return found


def _of_service(scope: OutboundScope, scoped: ScopedService) -> tuple[NamedResource, ...]:
    ports = (port for port in scoped.service.ports if port.protocol is not Protocol.UDP)
    pairs = ((port, subset) for port in ports for subset in scoped.subsets)
    made = (_cluster(_Target(scope, scoped, port, subset)) for port, subset in pairs)
    refs = (*scoped.refs, *entered_by_name(scope, scoped))
    return tuple(_resource(cluster, *refs) for cluster in made if cluster is not None)


class _Target(NamedTuple):
    """What a cluster stands for."""

    scope: OutboundScope
    scoped: ScopedService
    port: ServicePort
    subset: ScopedSubset

    @property
    def service(self) -> Service:
        return self.scoped.service

    @property
    def settings(self) -> MeshSettings:
        return self.scope.settings

    @property
    def policy(self) -> TrafficPolicy:
        return self.subset.policies[self.port.number]

    @property
    def name(self) -> names.ClusterName:
        return names.ClusterName(self.port.number, self.subset.name, self.service.host)


def _cluster(target: _Target) -> Cluster | None:
    kind = _kind(target)
    if kind is None:
        return None
    cluster = Cluster(name=str(target.name), type=kind)
    cluster.alt_stat_name = stat_names.outbound(target.settings, target.service, target.name)
    cluster.common_lb_config.SetInParent()
    if target.service.resolution is Resolution.DYNAMIC_DNS:
        dynamic_dns.resolve(cluster, target.settings, target.scope.families)
    elif kind == _DiscoveryType.EDS:
        cluster.eds_cluster_config.eds_config.CopyFrom(_ADS)
        cluster.eds_cluster_config.service_name = cluster.name
    elif kind in _BY_NAME and not _resolve(cluster, target):
        return None
    elif declared := _declared_target(target):
        cluster.original_dst_lb_config.upstream_port_override.value = declared
    _apply_policy(cluster, target)
    _describe(cluster, target)
    return cluster


def _kind(target: _Target) -> "Cluster.DiscoveryType.ValueType | None":
    resolution = target.service.resolution
    if resolution is Resolution.DYNAMIC_DNS:
        return _DiscoveryType.STATIC  # until it is made a cluster of a type of its own
    kind = _KINDS.get(resolution)
    # A gRPC program knows no addresses but those that it is sent.
    dials = target.scope.type is not ProxyType.PROXYLESS
    if kind is not None and dials and passes_through(target.policy):
        return _DiscoveryType.ORIGINAL_DST
    if resolution is Resolution.ORIGINAL and not knows_original(target.scope):
        return _DiscoveryType.EDS
    return kind


def _declared_target(target: _Target) -> int:
    """Return the port at which connections are continued at the address that they went to, or 0.

    Only a ServiceEntry says one. A headless Service is dialled at the ports of its pods.
    """
    service, port = target.service, target.port.target
    dialled = service.resolution is Resolution.ORIGINAL and service.registry == "External"
    return port if dialled and isinstance(port, int) and knows_original(target.scope) else 0


def _resolve(cluster: Cluster, target: _Target) -> bool:
    """Put the endpoints, which are names, into the cluster; False if there are none."""
    chosen = of_names(target.scope, target.scoped, target.port, target.subset)
    if not chosen.endpoints:
        return False
    dns_names.resolve(cluster, target.scope, chosen)
    return True


def _apply_policy(cluster: Cluster, target: _Target) -> None:
    policy, settings, protocol = target.policy, target.settings, target.port.protocol
    pool = policy.connection_pool
    http2 = connection_pool.upgrades_to_http2(protocol, pool, settings)
    sniffed = protocol is Protocol.AUTO and target.scope.type is ProxyType.SIDECAR
    explicit = http2 and not (pool and pool.use_client_protocol) and not sniffed
    connection_pool.limit(cluster, pool, settings, policy.retry_budget)
    connection_pool.detect_outliers(cluster, policy.outlier_detection)
    if locality.spills_over(target.service):
        cluster.common_lb_config.healthy_panic_threshold.value = 0
    in_force = locality.in_force(target.service, policy, settings)
    if in_force.weighted:
        cluster.common_lb_config.locality_weighted_lb_config.SetInParent()
    load_balancing.prefer_zone(cluster, in_force.setting)
    load_balancing.balance(cluster, policy.load_balancing)
    load_balancing.keep_sessions(cluster, target.service)
    server = _server(target, http2=explicit)
    dialled = cluster.type == _DiscoveryType.ORIGINAL_DST
    tls_client.apply(cluster, policy.tls, server, detect=_detects(target.scoped, dialled=dialled))
    if policy.proxy_protocol:
        tls_client.wrap_in_proxy_protocol(cluster, policy.proxy_protocol)
    options = connection_pool.http_options(protocol, pool, http2=http2, sniffed=sniffed)
    options = connection_pool.count_errors(options, policy.outlier_detection)
    requests = protocol.is_http or protocol is Protocol.AUTO
    keep_case = requests and settings.proxy.headers.keep_case
    options = _verified(options, policy, server)
    connection_pool.set_http_options(cluster, options, keep_case=keep_case)
    follows_client = sniffed or bool(pool and pool.use_client_protocol)
    if protocol.is_http and not follows_client:
        alpn.mark(cluster, http2=explicit)


def _server(target: _Target, *, http2: bool) -> tls_client.Server:
    return tls_client.Server(
        sni=target.name.sni,
        names=target.scoped.accounts,
        external=target.service.registry == "External",
        http2=http2,
        sidecar=target.scope.type is ProxyType.SIDECAR,
        external_secrets=target.scope.external_secrets,
        selected=target.scoped.selected,
        dynamic=target.service.resolution is Resolution.DYNAMIC_DNS,
        curves=target.settings.tls_curves,
        ciphers=target.settings.tls_ciphers,
    )


def _detects(scoped: ScopedService, *, dialled: bool) -> bool:
    """Tell whether TLS of the mesh is used wherever it can be.

    Of endpoints that the client dials itself nothing is known by then, so all of them count.
    Elsewhere, also in the same service's other ports and subsets, each endpoint says for itself.
    """
    return scoped.auto_mtls and not (dialled and scoped.plaintext_endpoint)


def _verified(
    options: HttpProtocolOptions | None, policy: TrafficPolicy, server: tls_client.Server
) -> HttpProtocolOptions | None:
    by_host, verified = tls_client.verifies_by_host(policy.tls, server)
    if not by_host and not verified:
        return options
    options = options or HttpProtocolOptions()
    options.upstream_http_protocol_options.auto_sni = by_host
    options.upstream_http_protocol_options.auto_san_validation = verified
    return options


def _describe(cluster: Cluster, target: _Target) -> None:
    """Say in metadata what the cluster is; telemetry reads the service from there."""
    fields = cluster.metadata.filter_metadata[provenance.NAMESPACE].fields
    service = fields["services"].list_value.values.add().struct_value.fields
    service["host"].string_value = target.service.host
    service["name"].string_value = target.service.name
    service["namespace"].string_value = target.service.namespace
    if target.service.external:
        fields["external"].bool_value = True
    if target.scoped.policy_source:
        fields[provenance.CONFIG].string_value = provenance.path(target.scoped.policy_source)
    if target.subset.name:
        fields["subset"].string_value = target.subset.name
    if not tls_client.takes_part_in_alpn_override(target.policy.tls):
        fields["alpn_override"].string_value = "false"


def _black_hole(settings: MeshSettings) -> Cluster:
    cluster = Cluster(name=names.BLACK_HOLE_CLUSTER, type=_DiscoveryType.STATIC)
    cluster.alt_stat_name = names.stat_prefix(cluster.name)
    cluster.connect_timeout.FromMilliseconds(settings.connect_timeout)
    return cluster


def _passthrough(settings: MeshSettings) -> Cluster:
    cluster = Cluster(
        name=names.PASSTHROUGH_CLUSTER,
        type=_DiscoveryType.ORIGINAL_DST,
        lb_policy=Cluster.LbPolicy.CLUSTER_PROVIDED,
    )
    cluster.alt_stat_name = names.stat_prefix(cluster.name)
    default = settings.default_policy
    connection_pool.limit(cluster, default.connection_pool if default else None, settings)
    options = connection_pool.passthrough_options()
    keep_case = settings.proxy.headers.keep_case
    connection_pool.set_http_options(cluster, options, keep_case=keep_case)
    return cluster


def _by_any_name(scope: OutboundScope) -> Cluster:
    """Return the cluster of hosts that nobody declared, each resolved when it is asked for."""
    settings = scope.settings
    cluster = Cluster(name=names.DYNAMIC_DNS_CLUSTER)
    cluster.alt_stat_name = names.stat_prefix(cluster.name)
    dynamic_dns.resolve(cluster, settings, scope.families)
    default = settings.default_policy
    connection_pool.limit(cluster, default.connection_pool if default else None, settings)
    server = tls_client.Server(
        sni="",
        names=(),
        external=True,
        http2=False,
        sidecar=True,
        selected=False,
        dynamic=True,
        curves=settings.tls_curves,
        ciphers=settings.tls_ciphers,
    )
    policy = TrafficPolicy(tls=settings.dynamic_dns_tls)
    tls_client.apply(cluster, policy.tls, server, detect=False)
    options = _verified(connection_pool.passthrough_options(), policy, server)
    keep_case = settings.proxy.headers.keep_case
    connection_pool.set_http_options(cluster, options, keep_case=keep_case)
    return cluster


def _resource(cluster: Cluster, *sources: Ref) -> NamedResource:
    body = cluster.SerializeToString(deterministic=True)
    return resource(cluster.name, CLUSTER, body=body, sources=sources)
