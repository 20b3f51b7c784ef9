"""Routings (VirtualServices) as a sidecar sees them: visible, and pruned of what it never meets.

Whether a match speaks of this client (its labels, its namespace, the mesh) is known before any
request comes, so it is decided here and left out of what goes on. Ports and everything that only
a request can tell stay.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec import structs

from libs.model.traffic import MESH_GATEWAY, HttpMatch, HttpRoute, Routing, StreamMatch, StreamRoute
from libs.proxy.visibility import PUBLIC, audience

Route = TypeVar("Route", HttpRoute, StreamRoute)
_NO_LABELS: dict[str, str] = {}


class RoutingIndex:
    """The routings of a mesh for its sidecars, by who may see them."""

    def __init__(self, routings: Iterable[Routing], default: Sequence[str]) -> None:
        self._private: dict[str, list[Routing]] = {}
        self._exported: dict[str, list[Routing]] = {}
        self._public: list[Routing] = []
        labels: set[str] = set()
        for routing in sorted(routings, key=_age):
            if MESH_GATEWAY not in routing.gateways:
                continue
            labels.update(_source_labels(routing))
            for namespace in audience(routing.export_to, default, routing.namespace):
                if namespace == PUBLIC:
                    self._public.append(routing)
                elif namespace == routing.namespace:
                    self._private.setdefault(namespace, []).append(routing)
                else:
                    self._exported.setdefault(namespace, []).append(routing)
        self.source_labels = frozenset(labels)
        """The labels by which routings choose their clients."""

    def seen_from(self, namespace: str) -> list[Routing]:
        """Return what sidecars of `namespace` follow, in order of precedence.

        Private routings first, then those exported to the namespace, then public ones; the oldest
        first among each.
        """
        private, exported = self._private.get(namespace, []), self._exported.get(namespace, [])
        return [*private, *exported, *self._public]


def _age(routing: Routing) -> tuple[int, str, str]:
    return routing.created, routing.name, routing.namespace


def _source_labels(routing: Routing) -> Iterable[str]:
    for http in routing.http:
        for match in http.matches:
            yield from match.source_labels
    for stream in (*routing.tcp, *routing.tls):
        for condition in stream.matches:
            yield from condition.source_labels


def prune(routing: Routing, namespace: str, labels: Mapping[str, str]) -> Routing:
    """Return `routing` without the matches that no request of this client can meet.

    The same object if there is nothing to leave out.
    """
    http = _routes(routing.http, namespace, labels)
    tls = _routes(routing.tls, namespace, labels)
    tcp = _routes(routing.tcp, namespace, labels)
    if http is routing.http and tls is routing.tls and tcp is routing.tcp:
        return routing
    return structs.replace(routing, http=http, tls=tls, tcp=tcp)


def _routes(
    routes: tuple[Route, ...], namespace: str, labels: Mapping[str, str]
) -> tuple[Route, ...]:
    kept = [_route(route, namespace, labels) for route in routes]
    if all(new is old for new, old in zip(kept, routes, strict=True)):
        return routes
    return tuple(route for route in kept if route is not None)


def _route(route: Route, namespace: str, labels: Mapping[str, str]) -> Route | None:
    kept = [_match(match, namespace, labels) for match in route.matches]
    if all(new is old for new, old in zip(kept, route.matches, strict=True)):
        return route
    matches = tuple(match for match in kept if match is not None)
    return structs.replace(route, matches=matches) if matches else None


def _match(
    match: HttpMatch | StreamMatch, namespace: str, labels: Mapping[str, str]
) -> HttpMatch | StreamMatch | None:
    if not (match.gateways or match.source_labels or match.source_namespace):
        return match
    if not _concerns(match, namespace, labels):
        return None
    return structs.replace(match, gateways=(), source_labels=_NO_LABELS, source_namespace="")


def _concerns(match: HttpMatch | StreamMatch, namespace: str, labels: Mapping[str, str]) -> bool:
    meant = not match.gateways or MESH_GATEWAY in match.gateways
    # As in Istio, an HTTP match that names the mesh among its gateways is for every client.
    if match.gateways and isinstance(match, HttpMatch):
        return meant
    from_here = match.source_namespace in {"", namespace}
    return meant and from_here and match.source_labels.items() <= labels.items()
