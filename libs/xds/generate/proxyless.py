"""Proxyless: what a gRPC client gets that speaks xDS itself (GENERATOR `grpc`), with no Envoy.

It asks for the name that it dials, `<host>:<port>` of a service in any of its forms, and gets a
listener that sends it to the routes of that service alone, which are named after its cluster. gRPC
refuses a resource for what it does not know, so nothing stands in one that gRPC does not read.
What such a program needs to serve: `proxyless_servers`.
"""

from collections.abc import Iterator
from functools import partial

from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import (
    Route,
    RouteAction,
    VirtualHost,
    WeightedCluster,
)
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)

from libs.model.service import Protocol, Service
from libs.proxy.memo import WeakMemo
from libs.proxy.scope import OutboundScope, ScopedService
from libs.xds import names
from libs.xds.generate import (
    domains,
    egress,
    proxyless_clusters,
    route_actions,
    typed,
    virtual_hosts,
)
from libs.xds.generate.filters import fault
from libs.xds.generate.route_actions import Ways
from libs.xds.generate.route_destinations import Destinations
from libs.xds.generate.stream_chains import RouteName
from libs.xds.types import LISTENER, ROUTE, NamedResource, resource

_KNOWN_FILTERS = frozenset({"envoy.filters.http.fault"})

_clusters: WeakMemo[list[NamedResource]] = WeakMemo()
_listeners: WeakMemo[list[NamedResource]] = WeakMemo()
_routes: WeakMemo[list[NamedResource]] = WeakMemo()


def cluster_list(scope: OutboundScope) -> list[NamedResource]:
    """Return the clusters whose endpoints are fetched; gRPC knows hardly any others."""
    return _clusters.get(scope, (), lambda: list(proxyless_clusters.generate(scope, _ports(scope))))


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


def _dialled(scope: OutboundScope) -> Iterator[tuple[ScopedService, int]]:
    """Yield what may be called by its name: a Sidecar may say so for each port."""
    reached: dict[int, set[str]] = {}
    for scoped, port in _ports(scope):
        if port not in reached:
            services = egress.behind(scope, RouteName(port)).services
            reached[port] = {one.service.host for one in services}
        if scoped.service.host in reached[port]:
            yield scoped, port


def _all_listeners(scope: OutboundScope) -> Iterator[NamedResource]:
    taken: set[str] = set()
    for scoped, port in sorted(_dialled(scope), key=lambda it: (it[0].service.host, it[1])):
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
        rds=hcm.Rds(
            config_source=proxyless_clusters.ADS, route_config_name=_route_name(service, port)
        ),
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
    for scoped, port in _dialled(scope):
        if port not in by_port:
            hosts = virtual_hosts.of_port(egress.behind(scope, RouteName(port)), port)
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
        _limit(route.route)
        for weighted in route.route.weighted_clusters.clusters:
            _keep_known(weighted)
    return host


def _limit(action: RouteAction) -> None:
    """Say how long a call may take where gRPC looks for it: it reads nothing else of it."""
    if action.timeout.ToNanoseconds():
        action.max_stream_duration.max_stream_duration.CopyFrom(action.timeout)


def _keep_known(item: VirtualHost | Route | WeightedCluster.ClusterWeight) -> None:
    configured = item.typed_per_filter_config
    for name in set(configured) - _KNOWN_FILTERS:
        del configured[name]
