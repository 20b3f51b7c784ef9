"""Proxyless: what a gRPC client gets that speaks xDS itself (GENERATOR `grpc`), with no Envoy.

It asks for the name that it dials, `<host>:<port>` of a service in any of its forms, and gets a
listener that sends it to the routes of that service alone, which are named after its cluster. gRPC
refuses a resource for what it does not know, so nothing stands in one that gRPC does not read.
It has no listeners of its own to serve with: those of servers are not made yet.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost, WeightedCluster
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, UpstreamTlsContext
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from libs.model.service import Protocol, Service
from libs.model.traffic import TlsMode
from libs.proxy.memo import WeakMemo
from libs.proxy.scope import OutboundScope, ScopedService
from libs.xds import names
from libs.xds.generate import (
    clusters,
    domains,
    route_actions,
    sds,
    tls_client,
    typed,
    virtual_hosts,
)
from libs.xds.generate.filters import fault
from libs.xds.generate.route_actions import Ways
from libs.xds.generate.route_destinations import Destinations
from libs.xds.types import CLUSTER, LISTENER, ROUTE, NamedResource, resource

CERTIFICATES = "default"
"""The name of the certificate provider in a bootstrap that an agent writes."""

_ADS = ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)
_KNOWN_POLICIES = frozenset({Cluster.LbPolicy.ROUND_ROBIN, Cluster.LbPolicy.RING_HASH})
_KNOWN_FILTERS = frozenset({"envoy.filters.http.fault"})

_clusters: WeakMemo[list[NamedResource]] = WeakMemo()
_listeners: WeakMemo[list[NamedResource]] = WeakMemo()
_routes: WeakMemo[list[NamedResource]] = WeakMemo()


def cluster_list(scope: OutboundScope) -> list[NamedResource]:
    """Return the clusters whose endpoints are fetched; gRPC knows hardly any others."""
    return _clusters.get(scope, (), lambda: list(_all_clusters(scope)))


def listener_list(scope: OutboundScope) -> list[NamedResource]:
    """Return a listener for each name under which a port of a service may be dialled."""
    return _listeners.get(scope, (), lambda: list(_all_listeners(scope)))


def route_list(scope: OutboundScope) -> list[NamedResource]:
    """Return the routes of each port of each service."""
    return _routes.get(scope, (), partial(_all_routes, scope))


def _ports(scope: OutboundScope) -> Iterator[tuple[ScopedService, int]]:
    for scoped in scope.services:
        for port in scoped.service.ports:
            if port.protocol is not Protocol.UDP:
                yield scoped, port.number


def _all_clusters(scope: OutboundScope) -> Iterator[NamedResource]:
    mutual = {
        str(names.ClusterName(port, subset.name, scoped.service.host)): (
            tls.subject_alt_names or scoped.accounts
        )
        for scoped, port in _ports(scope)
        for subset in scoped.subsets
        if (tls := subset.policies[port].tls) and tls.mode is TlsMode.ISTIO_MUTUAL
    }
    for made in clusters.generate(scope):
        cluster = Cluster.FromString(made.body)
        if cluster.type == Cluster.DiscoveryType.EDS:
            body = _cluster(cluster, mutual.get(made.name)).SerializeToString(deterministic=True)
            yield resource(made.name, CLUSTER, body=body, sources=made.sources)


def _cluster(full: Cluster, proved: Sequence[str] | None) -> Cluster:
    """Return what gRPC knows of a cluster; with `proved`, its servers prove one of these names."""
    known = full.lb_policy in _KNOWN_POLICIES
    found = Cluster(
        name=full.name,
        type=Cluster.DiscoveryType.EDS,
        lb_policy=full.lb_policy if known else Cluster.LbPolicy.ROUND_ROBIN,
        metadata=full.metadata,
    )
    found.eds_cluster_config.eds_config.CopyFrom(_ADS)
    found.eds_cluster_config.service_name = full.name
    if known and full.HasField("ring_hash_lb_config"):
        found.ring_hash_lb_config.CopyFrom(full.ring_hash_lb_config)
    if full.HasField("outlier_detection"):
        found.outlier_detection.CopyFrom(full.outlier_detection)
    for limits in full.circuit_breakers.thresholds:
        if limits.HasField("max_requests"):
            found.circuit_breakers.thresholds.add(max_requests=limits.max_requests)
    if proved is not None:
        context = UpstreamTlsContext(common_tls_context=_certificates(proved))
        found.transport_socket.CopyFrom(typed.transport_socket(tls_client.TLS, context))
    return found


def _certificates(proved: Iterable[str]) -> CommonTlsContext:
    """Return TLS with what the bootstrap calls `CERTIFICATES`; the peer proves a name of `proved`.

    If none is known, any certificate of the mesh will do, as it will for Envoy.
    """
    common = CommonTlsContext()
    own = common.tls_certificate_provider_instance
    own.instance_name, own.certificate_name = CERTIFICATES, sds.CERTIFICATE
    peer = common.combined_validation_context.default_validation_context
    roots = peer.ca_certificate_provider_instance
    roots.instance_name, roots.certificate_name = CERTIFICATES, sds.ROOTS
    peer.match_subject_alt_names.extend(StringMatcher(exact=name) for name in proved)
    return common


def _all_listeners(scope: OutboundScope) -> Iterator[NamedResource]:
    taken: set[str] = set()
    for scoped, port in sorted(_ports(scope), key=lambda it: (it[0].service.host, it[1])):
        found, short = domains.of_service(scoped, scoped.service.host, scope.dns_domain)
        real = {other.service.host for other in scope.services} - {scoped.service.host}
        for domain in found:
            name = f"{domain}:{port}"
            if name in taken or (domain in short and domain in real) or "*" in domain:
                continue
            taken.add(name)
            yield _listener(name, scoped.service, port)


def _listener(name: str, service: Service, port: int) -> NamedResource:
    manager = hcm.HttpConnectionManager(
        rds=hcm.Rds(config_source=_ADS, route_config_name=_route_name(service, port)),
        http_filters=[fault.FILTER, typed.http_filter("envoy.filters.http.router", Router())],
    )
    found = Listener(name=name)
    found.api_listener.api_listener.CopyFrom(typed.pack(manager))
    body = found.SerializeToString(deterministic=True)
    return resource(name, LISTENER, body=body, sources=[service.ref])


def _route_name(service: Service, port: int) -> str:
    return str(names.ClusterName(port, "", service.host))


def _all_routes(scope: OutboundScope) -> list[NamedResource]:
    found = []
    destinations = Destinations(scope)
    by_port: dict[int, dict[str, virtual_hosts.Host]] = {}
    for scoped, port in _ports(scope):
        if port not in by_port:
            hosts = virtual_hosts.of_port(scope, port)
            by_port[port] = {host.wanted.host: host for host in hosts if host.wanted.scoped}
        host = by_port[port].get(scoped.service.host)
        if host is None:
            made, sources = _plain(scope, scoped.service, port), [scoped.service.ref]
        else:
            ways = Ways(destinations, port, scope.settings.default_retries)
            made = VirtualHost.FromString(virtual_hosts.body(host, ways, scope.settings))
            sources = list(host.sources)
        name = _route_name(scoped.service, port)
        routes = RouteConfiguration(name=name, virtual_hosts=[_for_grpc(made)])
        body = routes.SerializeToString(deterministic=True)
        found.append(resource(name, ROUTE, body=body, sources=sources))
    return found


def _plain(scope: OutboundScope, service: Service, port: int) -> VirtualHost:
    """Return the routes of a port on which Envoy would not look for requests."""
    cluster = names.ClusterName(port, "", service.host)
    route = route_actions.of_service(
        cluster, service.ref, hashing=None, retries=scope.settings.default_retries
    )
    return VirtualHost(name=names.virtual_host(service.host, port), routes=[route])


def _for_grpc(host: VirtualHost) -> VirtualHost:
    """Leave one domain, since a client asked for this very service, and only what gRPC knows."""
    host.ClearField("domains")
    host.domains.append("*")
    _keep_known(host)
    for route in host.routes:
        _keep_known(route)
        for weighted in route.route.weighted_clusters.clusters:
            _keep_known(weighted)
    return host


def _keep_known(item: VirtualHost | Route | WeightedCluster.ClusterWeight) -> None:
    configured = item.typed_per_filter_config
    for name in set(configured) - _KNOWN_FILTERS:
        del configured[name]
