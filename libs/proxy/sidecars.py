"""Sidecars: which one a proxy goes by, and what its listeners let the proxy see.

The oldest that selects the workload by labels, then the oldest of its namespace without a selector,
then that of the root namespace. What no listener imports is not in the scope at all, apart from
services that an imported routing leads to: those have clusters, but nobody can dial them.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from libs.model import hosts
from libs.model.ids import Ref
from libs.model.service import Service
from libs.model.sidecar import EgressListener, HostPattern, Sidecar
from libs.model.traffic import Destination, Routing
from libs.proxy.peers import selects
from libs.proxy.visibility import ServiceIndex, place

EVERYWHERE = "*"
_ALL_PORTS: frozenset[int] = frozenset()


class SidecarIndex:
    """The Sidecars of a mesh, by namespace."""

    def __init__(self, sidecars: Iterable[Sidecar], root_namespace: str) -> None:
        self._selecting: dict[str, list[Sidecar]] = {}
        self._general: dict[str, Sidecar] = {}
        self._root = root_namespace
        for sidecar in sorted(sidecars, key=_age):
            if sidecar.selector is None:
                self._general.setdefault(sidecar.namespace, sidecar)
            else:
                self._selecting.setdefault(sidecar.namespace, []).append(sidecar)

    def choose(self, namespace: str, labels: Mapping[str, str]) -> Sidecar | None:
        """Return the Sidecar of a workload, or None if the mesh's defaults hold."""
        for sidecar in self._selecting.get(namespace, ()):
            if selects(sidecar.selector or {}, labels):
                return sidecar
        return self._general.get(namespace) or self._general.get(self._root)


class ListenerView(NamedTuple):
    """A listener, and what it lets the proxy see."""

    listener: EgressListener
    services: Mapping[str, Service]  # by host
    routings: tuple[Routing, ...]


class Narrowed(NamedTuple):
    """What a Sidecar leaves of what a namespace sees."""

    services: Mapping[str, Service]  # by host
    ports: Mapping[str, frozenset[int]]  # by host, those that count; empty: all
    routings: tuple[Routing, ...]
    views: tuple[ListenerView, ...]


def narrow(  # noqa: PLR0917 - what one client sees, and by what it goes
    sidecar: Sidecar, namespace: str, index: ServiceIndex, routings: Iterable[Routing]
) -> Narrowed:
    """Return what proxies of `namespace` see that go by `sidecar`; `routings` are in order."""
    known = tuple(routings)
    views = tuple(_view(listener, namespace, index, known) for listener in sidecar.egress)
    draft = _Draft()
    for view in views:
        number = _number(view.listener)
        for service in view.services.values():
            draft.add(service, frozenset({number}) if number else _ALL_PORTS)
    imported = {routing.ref for view in views for routing in view.routings}
    followed = tuple(routing for routing in known if routing.ref in imported)
    _drag(draft, followed, index, namespace)
    if sidecar.egress_proxy is not None:
        _drag_one(draft, sidecar.egress_proxy, index, namespace)
    return Narrowed(draft.services, draft.ports, followed, views)


class _Draft:
    """Services in the making: of several of one host the first stays."""

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}
        self.ports: dict[str, frozenset[int]] = {}

    def add(self, service: Service, ports: frozenset[int]) -> None:
        """Add `ports` of a service; no ports are all of them."""
        known = self.services.setdefault(service.host, service)
        if known is not service:
            return
        before = self.ports.get(service.host)
        both = ports if before is None else before | ports if before and ports else _ALL_PORTS
        self.ports[service.host] = both


def _number(listener: EgressListener) -> int:
    """Return the only port that counts at a listener, or 0."""
    return listener.port.number if listener.port and not listener.http_proxy else 0


def _view(  # noqa: PLR0917 - as above, for one listener
    listener: EgressListener, namespace: str, index: ServiceIndex, routings: tuple[Routing, ...]
) -> ListenerView:
    wanted = [_resolved(pattern, namespace) for pattern in listener.hosts]
    excluded = [pattern for pattern in wanted if pattern.excluded]
    number = _number(listener)
    found: dict[str, Service] = {}
    for pattern in wanted:
        if pattern.excluded or pattern.namespace == "~":
            continue
        for service in index.covered(namespace, pattern.namespace, pattern.host):
            if number and service.port(number) is None:
                continue
            if not _covered(service.namespace, service.host, excluded):
                place(found, service, namespace)
    imported = [pattern for pattern in wanted if not pattern.excluded]
    followed = (routing for routing in routings if _imports(routing, imported, excluded))
    return ListenerView(listener, dict(sorted(found.items())), tuple(followed))


def _resolved(pattern: HostPattern, namespace: str) -> HostPattern:
    if pattern.namespace != ".":
        return pattern
    return HostPattern(namespace, pattern.host, pattern.excluded)


def _covered(namespace: str, host: str, patterns: Iterable[HostPattern]) -> bool:
    return any(
        pattern.namespace in {EVERYWHERE, namespace} and hosts.matches(pattern.host, host)
        for pattern in patterns
    )


def _imports(
    routing: Routing, imported: Iterable[HostPattern], excluded: Iterable[HostPattern]
) -> bool:
    left = [host for host in routing.hosts if not _covered(routing.namespace, host, excluded)]
    return any(
        pattern.namespace in {EVERYWHERE, routing.namespace}
        and (hosts.matches(pattern.host, host) or hosts.matches(host, pattern.host))
        for pattern in imported
        for host in left
    )


def _drag(  # noqa: PLR0917 - as above
    draft: _Draft, routings: Iterable[Routing], index: ServiceIndex, namespace: str
) -> None:
    """Add the services that routings lead to, with the ports that they name."""
    for routing in routings:
        for destination in sorted(_destinations(routing), key=_place_of):
            _drag_one(draft, destination, index, namespace)


def _drag_one(  # noqa: PLR0917 - as above
    draft: _Draft, destination: Destination, index: ServiceIndex, namespace: str
) -> None:
    host, port = destination.host, destination.port
    service = draft.services.get(host) or index.seen_from(namespace).get(host)
    if service is not None:
        ports = frozenset({port}) if port and service.port(port) else _ALL_PORTS
        draft.add(service, ports)


def _place_of(destination: Destination) -> tuple[str, int, str]:
    return destination.host, destination.port, destination.subset


def _destinations(routing: Routing) -> set[Destination]:
    of_http = (
        destination
        for route in routing.http
        for destination in (
            *(one.destination for one in route.destinations),
            *(mirror.destination for mirror in route.mirrors),
        )
    )
    streams = (*routing.tls, *routing.tcp)
    of_streams = (one.destination for route in streams for one in route.destinations)
    return {*of_http, *of_streams}


def _age(sidecar: Sidecar) -> tuple[int, str, Ref]:
    return sidecar.created, sidecar.name, sidecar.ref
