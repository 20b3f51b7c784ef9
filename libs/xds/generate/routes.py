"""Route configurations: what a listener's port may be asked for, and where that leads.

A port that only HTTP speaks on shares one configuration, named by its number, among all services. A
port whose protocol is sniffed has one for each service, named `<host>:<port>`. `http_proxy` serves
clients that ask a proxy instead of dialling. Which of them are needed is decided by the listeners.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain

from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from libs.proxy.memo import WeakMemo
from libs.proxy.node import ProxyType
from libs.proxy.scope import OutboundScope
from libs.xds.generate import (
    egress,
    elsewhere,
    gateway_routes,
    narrow,
    outbound_plan,
    proxy_headers,
    route_actions,
    virtual_hosts,
)
from libs.xds.generate.route_actions import Ways
from libs.xds.generate.route_destinations import Destinations
from libs.xds.generate.stream_chains import RouteName
from libs.xds.generate.virtual_hosts import ANY_PORT, Host
from libs.xds.types import ROUTE, NamedResource, field, resource

ALLOW_ANY = "allow_any"
BLOCK_ALL = "block_all"
DYNAMIC_DNS = "allow_any_dynamic_dns"
_MAX_ANSWER = 1 << 20  # bytes of a direct response; as much as validation lets in

_memo: WeakMemo[list[NamedResource]] = WeakMemo()


def generate(scope: OutboundScope) -> list[NamedResource]:
    """Return the route configurations that the listeners of `scope` ask for, by name."""
    if scope.type is not ProxyType.SIDECAR:
        return gateway_routes.generate(scope)
    plan = outbound_plan.plan(scope)
    narrowed = narrow.for_routes(scope)
    return _memo.get(narrowed, (plan.asked,), partial(_generate, narrowed, plan.routes))


def _generate(scope: OutboundScope, asked: Iterable[RouteName]) -> list[NamedResource]:
    by_listener: dict[RouteName, list[Host]] = {}
    destinations = Destinations(scope)
    found = []
    for wanted in asked:
        shared = wanted._replace(service="")
        hosts = by_listener.get(shared)
        if hosts is None:
            narrowed = egress.behind(scope, shared)
            hosts = by_listener[shared] = virtual_hosts.of_port(narrowed, wanted.asked)
        ways = Ways(destinations, wanted.asked, scope.settings.default_retries)
        found.append(_configuration(scope, wanted, hosts, ways=ways))
    return sorted(found, key=lambda item: item.name)


def _configuration(
    scope: OutboundScope, wanted: RouteName, hosts: Sequence[Host], *, ways: Ways
) -> NamedResource:
    if wanted.service:
        alone = (host for host in hosts if _is(host, wanted.service))
        hosts = [virtual_hosts.at_any_domain(host, scope.settings) for host in alone]
    bodies = [virtual_hosts.body(host, ways, scope.settings) for host in hosts]
    if not wanted.service:
        bodies.append(catch_all(scope).SerializeToString(deterministic=True))
    name = str(wanted)
    body = _assemble(name, bodies, ignore_port=wanted.asked != ANY_PORT)
    sources = chain.from_iterable(host.sources for host in hosts)
    return resource(name, ROUTE, body=body, sources=sources)


def _is(host: Host, service: str) -> bool:
    return host.wanted.host == service and host.wanted.scoped is not None


def _assemble(name: str, hosts: Iterable[bytes], *, ignore_port: bool) -> bytes:
    """Return the serialised configuration: virtual hosts are put in as the bytes they are."""
    rest = RouteConfiguration(
        validate_clusters=BoolValue(value=False),
        max_direct_response_body_size_bytes=UInt32Value(value=_MAX_ANSWER),
        ignore_port_in_host_matching=ignore_port,
    )
    number = RouteConfiguration.VIRTUAL_HOSTS_FIELD_NUMBER
    parts = [field(RouteConfiguration.NAME_FIELD_NUMBER, name)]
    parts += [field(number, host) for host in hosts]
    parts.append(rest.SerializeToString(deterministic=True))
    return b"".join(parts)


def catch_all(scope: OutboundScope) -> VirtualHost:
    """Return where requests for unknown hosts go: on, or nowhere if that is forbidden."""
    cluster = elsewhere.of_requests(scope)
    name = ALLOW_ANY if cluster else BLOCK_ALL
    if scope.dynamic_dns:
        name = DYNAMIC_DNS
    route = route_actions.catch_all(name, cluster)
    host = VirtualHost(name=name, domains=["*"], routes=[route])
    return proxy_headers.count_attempts(host, scope.settings.proxy.headers)
