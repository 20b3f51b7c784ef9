"""Routes of gateways: which requests that arrive at a router's ports lead where.

Servers of clear text on one port share a configuration, `http.<port>`; each server at which TLS
ends has its own, `https.<port>.<name of the port>.<gateway>.<namespace>`. Routings that are bound
to a server are taken oldest first: those for one host make one virtual host together, in which
routes that nothing gets past stand last.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from libs.model.ids import Ref
from libs.model.proxy_settings import Headers
from libs.model.traffic import Routing
from libs.proxy.gateways import bound_hosts
from libs.proxy.memo import WeakMemo
from libs.proxy.routings import at_gateway
from libs.proxy.scope import BoundServer, GatewayListener, OutboundScope
from libs.xds import names
from libs.xds.generate import domains, proxy_headers, route_actions, route_match
from libs.xds.generate.route_actions import Ways
from libs.xds.generate.route_destinations import Destinations
from libs.xds.types import ROUTE, NamedResource, resource

MAX_ANSWER = 1 << 20  # bytes of a direct response; as much as validation lets in

_memo: WeakMemo[list[NamedResource]] = WeakMemo()


def generate(scope: OutboundScope) -> list[NamedResource]:
    """Return the route configurations that a router's listeners ask for, by name."""
    return _memo.get(scope, (), partial(_generate, scope))


def name_of(listener: GatewayListener, bound: BoundServer) -> str:
    """Return the name of the routes for requests that a server lets in."""
    server = bound.server
    if server.tls is None:
        return names.gateway_routes(listener.port, listener.bind)
    return names.gateway_tls_routes(
        server.number, server.port_name, gateway=bound.gateway, bind=server.bind
    )


def _generate(scope: OutboundScope) -> list[NamedResource]:
    by_name: dict[str, list[BoundServer]] = {}
    for listener in scope.gateways:
        for bound in listener.servers:
            if bound.server.routes_requests:
                by_name.setdefault(name_of(listener, bound), []).append(bound)
    destinations = Destinations(scope)
    return [
        _Table(scope, destinations, servers).resource(name)
        for name, servers in sorted(by_name.items())
    ]


class _Host:
    """One virtual host in the making."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.routes: list[Route] = []
        self.only_tls = False
        self.met: list[Routing] = []  # that it has the routes of

    def message(self, host: str, headers: Headers) -> VirtualHost:
        """Return the virtual host, with the routes that take everything at the end."""
        found = VirtualHost(
            name=names.virtual_host(host, self.number),
            domains=[domains.bracketed(host)],
            routes=sorted(self.routes, key=lambda route: route_match.catches_all(route.match)),
        )
        if self.only_tls:
            found.require_tls = VirtualHost.TlsRequirementType.ALL
        return proxy_headers.count_attempts(found, headers)


class _Table:
    """The virtual hosts of some servers that share one configuration."""

    def __init__(
        self, scope: OutboundScope, destinations: Destinations, servers: Sequence[BoundServer]
    ) -> None:
        self._scope = scope
        self._destinations = destinations
        self._number = servers[0].server.number
        self._hosts: dict[str, _Host] = {}
        self._sources: list[Ref] = []
        for bound in servers:
            self._add(bound)

    def resource(self, name: str) -> NamedResource:
        """Return the configuration."""
        config = RouteConfiguration(
            name=name,
            virtual_hosts=self._virtual_hosts(),
            validate_clusters=BoolValue(value=False),
            max_direct_response_body_size_bytes=UInt32Value(value=MAX_ANSWER),
            ignore_port_in_host_matching=True,
        )
        body = config.SerializeToString(deterministic=True)
        return resource(name, ROUTE, body=body, sources=self._sources)

    def _virtual_hosts(self) -> Iterable[VirtualHost]:
        if not self._hosts:  # a virtual host without routes answers 404
            return [VirtualHost(name=f"blackhole:{self._number}", domains=["*"])]
        headers = self._scope.settings.proxy.headers
        return [host.message(name, headers) for name, host in sorted(self._hosts.items())]

    def _add(self, bound: BoundServer) -> None:
        server = bound.server
        self._sources.append(bound.ref)
        for routing in self._routings(bound):
            self._bind(bound, routing)
        if server.https_redirect:
            for host in server.hosts:
                self._host(host.name, bound).only_tls = True

    def _routings(self, bound: BoundServer) -> Iterator[Routing]:
        for routing in self._scope.routings:
            if bound.gateway in routing.gateways:
                yield at_gateway(routing, bound.gateway)

    def _bind(self, bound: BoundServer, routing: Routing) -> None:
        hosts = bound_hosts(bound.server, routing)
        server, settings = bound.server, self._scope.settings
        secure = server.tls is not None and server.terminates
        ways = Ways(self._destinations, server.number, settings.default_retries, secure=secure)
        routes = route_actions.of_routing(ways, routing) if hosts else []
        if not routes:
            return
        self._sources += (routing.ref, *(ref for http in routing.http for ref in http.refs))
        for name in hosts:
            host = self._host(name, bound)
            if routing not in host.met:  # two gateways may stand on one port
                host.met.append(routing)
                host.routes += routes
            host.only_tls |= bound.server.https_redirect

    def _host(self, name: str, bound: BoundServer) -> _Host:
        return self._hosts.setdefault(name, _Host(bound.server.number))
