"""Chains of outbound listeners: which connections they take, and where those are sent.

For TCP and for TLS that passes through. Connections that no routing is about go to their service. A
routing that matches by address or by SNI gets a chain for each match. What TCP routings do not
match still goes to the service; of TLS only the names that routings match are let through.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from libs.model import hosts
from libs.model.ids import Ref
from libs.model.service import Protocol, Resolution, ServicePort
from libs.model.traffic import (
    ConnectionPool,
    Destination,
    Routing,
    StreamMatch,
    StreamRoute,
    Tunnel,
    WeightedDestination,
)
from libs.proxy.scope import OutboundScope, ScopedService
from libs.xds import names
from libs.xds.generate import connection_policies, domains
from libs.xds.generate.route_destinations import Destinations


class RouteName(NamedTuple):
    """The name of routes: of a port, of one service alone, of an HTTP proxy, of a Unix socket."""

    port: int  # 0: the HTTP proxy, or a Unix socket
    service: str = ""
    every: bool = False  # requests for hosts at every port come in
    socket: str = ""

    @property
    def asked(self) -> int:
        """The port of the hosts that requests are for, or 0 if they may be at any."""
        return 0 if self.every else self.port

    def __str__(self) -> str:
        if self.socket:
            return self.socket
        if not self.port:
            return names.HTTP_PROXY_ROUTE
        return names.route_config(self.service, self.port) if self.service else str(self.port)


class Match(NamedTuple):
    """Which connections a chain takes; empty parts take all."""

    sni: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    transport: str = ""

    @property
    def takes_all(self) -> bool:
        """Tell whether every connection matches."""
        named = [name for name in self.sni if name != "*"]
        return not (named or self.subnets or self.protocols or self.transport)


class Chain(NamedTuple):
    """What happens to connections: requests are routed, or bytes are sent to a destination."""

    match: Match
    routes: RouteName | None = None  # of an HTTP chain
    clusters: tuple[tuple[str, int], ...] = ()  # of a TCP chain: names and weights
    stat_prefix: str = ""
    pool: ConnectionPool | None = None
    hash_by_source: bool = False
    port: int = 0  # of the service that a TCP chain is about
    protocol: Protocol = Protocol.TCP
    source: Ref = Ref("")  # of the routing that asked for the chain
    sources: tuple[Ref, ...] = ()
    tunnel: Tunnel | None = None
    resolve_port: int = 0  # the SNI is resolved, and this port of what it names is called


class Reached(NamedTuple):
    """A service's port, at the address where its connections arrive."""

    scoped: ScopedService
    port: ServicePort
    by_name: bool  # nothing but its name tells the service from others on the listener
    subnets: tuple[str, ...] = ()


class StreamChains:
    """Makes the chains of services of one scope."""

    def __init__(self, scope: OutboundScope, routings: Iterable[Routing] | None = None) -> None:
        """`routings` are those that count, if not all of the scope's do."""
        self._destinations = Destinations(scope)
        self._dns_domain = scope.dns_domain
        followed = scope.routings if routings is None else routings
        self._routings = [routing for routing in followed if routing.tcp or routing.tls]

    def of_service(self, reached: Reached) -> list[Chain]:
        """Return the chains of a service's port; the last takes what the others leave."""
        routings = [r for r in self._routings if _about(r, reached.scoped.service.host)]
        if reached.port.protocol.is_tls:
            return list(self._tls(reached, routings))
        return list(self._tcp(reached, routings))

    def _tls(self, reached: Reached, routings: Sequence[Routing]) -> Iterator[Chain]:
        handled: set[tuple[tuple[str, ...], tuple[str, ...]]] = set()
        for routing in routings:
            for route in filter(_leads_somewhere, routing.tls):
                for match in self._matching(route, reached.port):
                    wanted = (match.sni_hosts, match.destination_subnets)
                    if wanted not in handled:
                        handled.add(wanted)
                        subnets = match.destination_subnets or reached.subnets
                        where = Match(sni=match.sni_hosts, subnets=subnets)
                        yield self._routed(where, reached, routing, route)
        if not handled:
            yield self._to_service(Match(self._server_names(reached), reached.subnets), reached)

    def _tcp(self, reached: Reached, routings: Sequence[Routing]) -> Iterator[Chain]:
        for routing in routings:
            for route in filter(_leads_somewhere, routing.tcp):
                if not route.matches:
                    yield self._routed(Match(subnets=reached.subnets), reached, routing, route)
                    return
                subnets: list[str] = []
                for match in self._matching(route, reached.port):
                    if not match.destination_subnets:
                        yield self._routed(Match(subnets=reached.subnets), reached, routing, route)
                        return
                    subnets += match.destination_subnets
                if subnets:
                    yield self._routed(Match(subnets=tuple(subnets)), reached, routing, route)
        yield self._to_service(Match(subnets=reached.subnets), reached)

    def _matching(self, route: StreamRoute, port: ServicePort) -> Iterator[StreamMatch]:
        yield from (match for match in route.matches if match.port in {0, port.number})

    def _server_names(self, reached: Reached) -> tuple[str, ...]:
        if not (reached.by_name or reached.subnets):
            return ()
        scoped = reached.scoped
        aliases = (
            name
            for alias in scoped.aliases
            for name in domains.of_service(scoped, alias, self._dns_domain)[0]
        )
        return (scoped.service.host, *aliases)

    def _to_service(self, match: Match, reached: Reached) -> Chain:
        scoped = reached.scoped
        whole = Destination(scoped.service.host, port=reached.port.number)
        return self._chain(match, reached, (WeightedDestination(whole),))

    def _routed(  # noqa: PLR0917 - what a chain is made of
        self, match: Match, reached: Reached, routing: Routing, route: StreamRoute
    ) -> Chain:
        chain = self._chain(match, reached, route.destinations)
        prefix = chain.stat_prefix
        if len(route.destinations) > 1:
            prefix = f"{routing.name}.{routing.namespace}"
        sources = (*chain.sources, routing.ref)
        return chain._replace(source=routing.ref, stat_prefix=prefix, sources=sources)

    def _chain(
        self, match: Match, reached: Reached, destinations: Sequence[WeightedDestination]
    ) -> Chain:
        port = reached.port
        single = len(destinations) == 1
        weights: dict[str, int] = {}
        for one in destinations:
            if single or one.weight:
                name = str(self._destinations.cluster(one.destination, port.number))
                weights[name] = weights.get(name, 0) + one.weight
        called = destinations[0].destination
        policy = self._destinations.policy(called, port.number)
        obeyed = connection_policies.sources(policy, self._destinations.find(called.host))
        return Chain(
            match,
            clusters=tuple(weights.items()),
            stat_prefix=next(iter(weights)),
            pool=policy.connection_pool if policy else None,
            hash_by_source=connection_policies.by_source(policy),
            tunnel=policy.tunnel if policy else None,
            port=port.number,
            protocol=port.protocol,
            resolve_port=self._resolve_port(destinations, port),
            sources=(reached.scoped.service.ref, *obeyed),
        )

    def _resolve_port(self, destinations: Sequence[WeightedDestination], port: ServicePort) -> int:
        scoped = self._destinations.find(destinations[0].destination.host)
        if scoped is None or scoped.service.resolution is not Resolution.DYNAMIC_DNS:
            return 0
        number = self._destinations.cluster(destinations[0].destination, port.number).port
        called = scoped.service.port(number)
        return (
            called.target if called and isinstance(called.target, int) and called.target else number
        )


def _about(routing: Routing, host: str) -> bool:
    return any(
        hosts.matches(pattern, host) or hosts.matches(host, pattern) for pattern in routing.hosts
    )


def _leads_somewhere(route: StreamRoute) -> bool:
    return len(route.destinations) == 1 or any(one.weight for one in route.destinations)
