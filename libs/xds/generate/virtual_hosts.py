"""Virtual hosts: for one listener's port, which host names lead to which routes.

Routings come first, in their order of precedence, and of two virtual hosts that want one name or
domain the earlier keeps it. Services that no routing is about follow with a default route. Hosts of
routings that are no service at all are heard on port 80 only, and by the proxy for all ports as if
on it, as nothing says which other port they might be on.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from msgspec import structs

from libs.model import hosts
from libs.model.ids import Ref
from libs.model.service import Protocol, ServicePort
from libs.model.settings import MeshSettings
from libs.model.traffic import Routing
from libs.proxy.memo import WeakMemo
from libs.proxy.scope import OutboundScope, ScopedService
from libs.xds import names
from libs.xds.generate import domains, narrow, provenance, proxy_headers, route_actions
from libs.xds.generate.route_actions import Ways

HTTP_PORT = 80
ANY_PORT = 0
_WITHOUT_SERVICE = frozenset({HTTP_PORT, ANY_PORT})  # where hosts that are no service are heard

_Read = tuple[tuple[str, ScopedService | None], ...]
"""Hosts that were looked up as destinations, and what was found."""

_MAX_KEPT = 16
"""Of one virtual host of a routing: for classes of clients that see its destinations otherwise."""

_memo: WeakMemo[bytes] = WeakMemo()
_kept: WeakMemo[list[tuple[_Read, bytes]]] = WeakMemo()


class Wanted(NamedTuple):
    """A virtual host that ought to be, before it is known which names are still free."""

    host: str
    port: int
    scoped: ScopedService | None  # None for a host that is no service
    routing: Routing | None  # None for a service that no routing is about


class Host(NamedTuple):
    """A virtual host under the names that it got."""

    name: str
    domains: tuple[str, ...]
    wanted: Wanted
    sources: tuple[Ref, ...]  # the configuration that the virtual host and its routes came from
    known: bytes = b""  # the whole virtual host, if no routing is about it


def speaks_http(port: ServicePort) -> bool:
    """Tell whether requests may come in on a service's port."""
    return port.protocol.is_http or port.protocol is Protocol.AUTO


class _Registry:
    """The services that are there on one listener's port, or on all with ANY_PORT."""

    def __init__(self, scope: OutboundScope, port: int) -> None:
        self.services: dict[str, ScopedService] = {}
        for scoped in scope.services:
            if port == ANY_PORT or scoped.service.port(port) is not None:
                for host in (*scoped.aliases, scoped.service.host):
                    self.services[host] = scoped
        self.wildcards = [host for host in self.services if hosts.is_wildcard(host)]

    def ports(self, scoped: ScopedService, port: int) -> list[int]:
        """Return the ports of a service on which requests may come in here."""
        wanted = (one for one in scoped.service.ports if port in {ANY_PORT, one.number})
        return [one.number for one in wanted if speaks_http(one)]


def of_port(scope: OutboundScope, port: int) -> list[Host]:
    """Return the virtual hosts of one listener's port, or of all ports with ANY_PORT, by name.

    Who they are is decided once for all scopes that differ only in where routings lead.
    """
    outlined = narrow.for_hosts(scope)
    laid_out = _laid_out.get(outlined, (port,), partial(_lay_out, outlined, port))
    routings = {routing.ref: routing for routing in scope.routings}
    return [_routed_by(host, routings) if host.wanted.routing else host for host in laid_out]


_laid_out: WeakMemo[list[Host]] = WeakMemo()


def _routed_by(host: Host, routings: Mapping[Ref, Routing]) -> Host:
    """Return a virtual host with its routing as it is, not just in outline."""
    wanted = host.wanted
    routing = routings[wanted.routing.ref] if wanted.routing else None
    refs = (ref for http in (routing.http if routing else ()) for ref in http.refs)
    return host._replace(wanted=wanted._replace(routing=routing), sources=(*host.sources, *refs))


def _lay_out(scope: OutboundScope, port: int) -> list[Host]:
    registry = _Registry(scope, port)
    table = _Table(scope, port)
    found = [*_routed(scope, registry, port)]
    decided = {wanted.host for wanted in found if wanted.scoped is not None}
    for host, scoped in registry.services.items():
        if host == scoped.service.host and host not in decided:
            ports = registry.ports(scoped, port)
            found += [Wanted(host, number, scoped, None) for number in ports]
    table.known.update(wanted.host for wanted in found if wanted.scoped is not None)
    for wanted in found:
        table.add(wanted)
    return sorted(table.hosts, key=lambda host: host.name)


def _routed(scope: OutboundScope, registry: _Registry, port: int) -> Iterator[Wanted]:
    nearest = _nearest(scope.routings, registry.services)
    for routing in scope.routings:
        if port not in _WITHOUT_SERVICE and not _concerns(routing, registry):
            continue
        if route_actions.any_at(routing, port):
            yield from _of_routing(routing, registry, nearest, port=port)


def _of_routing(
    routing: Routing,
    registry: _Registry,
    nearest: Mapping[str, Ref],
    *,
    port: int,
) -> Iterator[Wanted]:
    others, services = _split(routing, registry, nearest)
    by_port: dict[int, list[str]] = {}
    for host in services:
        for number in registry.ports(registry.services[host], port):
            by_port.setdefault(number, []).append(host)
    if not by_port and port in _WITHOUT_SERVICE:
        by_port[HTTP_PORT] = []
    for number, members in by_port.items():
        for host in others:
            yield Wanted(host, number, None, routing)
        for host in members:
            yield Wanted(host, number, registry.services[host], routing)


def _split(
    routing: Routing, registry: _Registry, nearest: Mapping[str, Ref]
) -> tuple[list[str], list[str]]:
    """Return the hosts of a routing that are no services here, and the services it decides."""
    others: list[str] = []
    services: list[str] = []
    for host in routing.hosts:
        if not hosts.is_wildcard(host):
            (services if host in registry.services else others).append(host)
            continue
        covered = [service for service in registry.services if hosts.matches(host, service)]
        services += [one for one in covered if nearest.get(one) == routing.ref]
        if not covered:
            others.append(host)
    return others, list(dict.fromkeys(services))


def _concerns(routing: Routing, registry: _Registry) -> bool:
    return any(_covers(host, registry) for host in routing.hosts)


def _covers(host: str, registry: _Registry) -> bool:
    if host in registry.services:
        return True
    if hosts.is_wildcard(host):
        return any(hosts.matches(host, service) for service in registry.services)
    return any(hosts.matches(wildcard, host) for wildcard in registry.wildcards)


def _nearest(routings: Sequence[Routing], services: Iterable[str]) -> Mapping[str, Ref]:
    """Return for each service the routing whose host is nearest to it; the first of equal ones."""
    exact: dict[str, Ref] = {}
    wildcard: dict[str, Ref] = {}
    for routing in routings:
        for host in routing.hosts:
            (wildcard if hosts.is_wildcard(host) else exact).setdefault(host, routing.ref)
    patterns = sorted(wildcard, key=hosts.specificity, reverse=True)
    found: dict[str, Ref] = {}
    for service in services if routings else ():
        if service in exact:
            found[service] = exact[service]
            continue
        covering = (pattern for pattern in patterns if hosts.matches(pattern, service))
        pattern = next(covering, None)
        if pattern is not None:
            found[service] = wildcard[pattern]
    return found


class _Table:
    """Virtual hosts in the making: who came first keeps a name or domain."""

    def __init__(self, scope: OutboundScope, port: int) -> None:
        self._port = port
        self._settings = scope.settings
        self.hosts: list[Host] = []
        self.known: set[str] = set()  # hosts that a service really has
        self._dns_domain = scope.dns_domain
        self._names: set[str] = set()
        self._domains: set[str] = set()

    def add(self, wanted: Wanted) -> None:
        """Add a virtual host, unless nothing is left for it."""
        name = names.virtual_host(wanted.host, wanted.port)
        if name in self._names:
            return
        self._names.add(name)
        free = tuple(self._free(wanted))
        if free:
            self.hosts.append(_host(name, free, wanted, settings=self._settings))

    def _free(self, wanted: Wanted) -> Iterator[str]:
        short: frozenset[str] = frozenset()
        found = [domains.bracketed(wanted.host)]
        if wanted.scoped is not None:
            found, short = domains.of_service(wanted.scoped, wanted.host, self._dns_domain)
        for domain in self._as_asked(found, wanted.port):
            if domain in self._domains or (domain in short and domain in self.known):
                continue
            self._domains.add(domain)
            yield domain

    def _as_asked(self, found: list[str], port: int) -> Iterable[str]:
        # A listener of one port ignores ports in hosts; the proxy for all ports needs them.
        if self._port != ANY_PORT:
            return found
        numbered = [f"{domain}:{port}" for domain in found]
        return [*found, *numbered] if port == HTTP_PORT else numbered


def _host(name: str, free: tuple[str, ...], wanted: Wanted, *, settings: MeshSettings) -> Host:
    scoped, routing = wanted.scoped, wanted.routing
    of_service = (scoped.service.ref, *scoped.policy_refs) if scoped else ()
    host = Host(name, free, wanted, (*of_service, routing.ref) if routing else of_service)
    return host._replace(known=_known(host, settings)) if routing is None else host


def at_any_domain(host: Host, settings: MeshSettings) -> Host:
    """Return a virtual host that answers whatever is asked for."""
    found = host._replace(domains=("*",), known=b"")
    return found._replace(known=_known(found, settings))


def _known(host: Host, settings: MeshSettings) -> bytes:
    """Return the serialised virtual host of a service; made once for all scopes."""
    scoped = host.wanted.scoped
    if scoped is None or host.wanted.routing is not None:
        return b""
    context = (host.name, " ".join(host.domains), settings)
    return _memo.get(scoped, context, partial(_of_service, host, scoped, settings))


def body(host: Host, ways: Ways, settings: MeshSettings) -> bytes:
    """Return the serialised virtual host, whose routes may lead where `ways` says.

    What a routing leads to is made again when it, or any destination that was looked up for it, is
    another one.
    """
    routing = host.wanted.routing
    if routing is None:
        return host.known
    context = (host.name, " ".join(host.domains), ways.port, settings)
    kept = _kept.get(routing, context, list)
    for read, made in kept:
        if all(ways.destinations.find(name) is scoped for name, scoped in read):
            return made
    read, made = _of_routes(host, routing, ways, settings=settings)
    kept.append((read, made))
    del kept[:-_MAX_KEPT]
    return made


def _of_routes(
    host: Host, routing: Routing, ways: Ways, *, settings: MeshSettings
) -> tuple[_Read, bytes]:
    noted = ways.destinations.noting()
    routes = route_actions.of_routing(structs.replace(ways, destinations=noted), routing)
    made = _message(host, routes, source=routing.ref, settings=settings)
    return noted.found, made


def _of_service(host: Host, scoped: ScopedService, settings: MeshSettings) -> bytes:
    port = host.wanted.port
    balancing = scoped.subsets[0].policies[port].load_balancing
    route = route_actions.of_service(
        names.ClusterName(port, "", scoped.service.host),
        scoped.service.ref,
        hashing=balancing.consistent_hash if balancing else None,
        retries=settings.default_retries,
    )
    return _message(host, (route,), source=scoped.service.ref, settings=settings)


def _message(host: Host, routes: Sequence[Route], *, source: Ref, settings: MeshSettings) -> bytes:
    found = VirtualHost(name=host.name, domains=host.domains, routes=routes)
    proxy_headers.count_attempts(found, settings.proxy.headers)
    found.metadata.CopyFrom(provenance.metadata(source))
    return found.SerializeToString(deterministic=True)
