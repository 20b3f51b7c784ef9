"""Routings (VirtualServices) as a proxy sees them: visible, and pruned of what it never meets.

Whether a match speaks of this client (its labels, its namespace, the mesh or the gateways that it
serves) is known before any request comes, so it is decided here and left out of what goes on. Ports
and everything that only a request can tell stay; so does which of its gateways a router's match is
for.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from msgspec import structs

from libs.model.ids import Ref
from libs.model.traffic import MESH_GATEWAY, HttpMatch, HttpRoute, Routing, StreamMatch, StreamRoute
from libs.proxy.memo import WeakMemo
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
        self._choosing: set[Ref] = set()  # those with matches for certain clients
        for routing in sorted(routings, key=_age):
            if MESH_GATEWAY not in routing.gateways:
                continue
            if any(map(_chooses, _matches(routing))):
                self._choosing.add(routing.ref)
            labels.update(source_labels(routing))
            seen_by = audience(routing.export_to, default, routing.namespace)
            if routing.others and PUBLIC in seen_by:  # what is not for all stands at home
                seen_by |= {routing.namespace}
            abroad = _abroad(routing)
            for namespace in seen_by:
                if namespace == routing.namespace:
                    self._private.setdefault(namespace, []).append(routing)
                elif abroad is not None:
                    public = namespace == PUBLIC
                    where = self._exported.setdefault(namespace, [])
                    (self._public if public else where).append(abroad)
        self.source_labels = frozenset(labels)
        """The labels by which routings choose their clients."""

    def concerns_all(self, routing: Routing) -> bool:
        """Tell whether no match of a routing is for certain clients only."""
        return routing.ref not in self._choosing

    def seen_from(self, namespace: str) -> list[Routing]:
        """Return what sidecars of `namespace` follow, in order of precedence.

        Private routings first, then those exported to the namespace, then public ones; the oldest
        first among each.
        """
        private, exported = self._private.get(namespace, []), self._exported.get(namespace, [])
        own = {routing.ref for routing in private if routing.others}
        return [*private, *exported, *(it for it in self._public if it.ref not in own)]


_elsewhere: WeakMemo[Routing] = WeakMemo()


def _abroad(routing: Routing) -> Routing | None:
    """Return what of a routing holds outside of its own namespace, or None."""
    if not routing.others:
        return routing
    left = tuple(host for host in routing.hosts if host not in routing.others)
    if not left:
        return None
    return _elsewhere.get(routing, (), lambda: structs.replace(routing, hosts=left))


def _age(routing: Routing) -> tuple[int, str, str]:
    return routing.created, routing.name, routing.namespace


def source_labels(routing: Routing) -> Iterable[str]:
    """Yield the labels by which a routing chooses its clients."""
    for match in _matches(routing):
        yield from match.source_labels


def _matches(routing: Routing) -> Iterator[HttpMatch | StreamMatch]:
    for http in routing.http:
        yield from http.matches
    for stream in (*routing.tcp, *routing.tls):
        yield from stream.matches


def _chooses(match: HttpMatch | StreamMatch) -> bool:
    return bool(match.gateways or match.source_labels or match.source_namespace)


SIDECARS = frozenset({MESH_GATEWAY})
"""What sidecars serve: the mesh."""


def prune(
    routing: Routing,
    namespace: str,
    labels: Mapping[str, str],
    *,
    gateways: frozenset[str] = SIDECARS,
) -> Routing:
    """Return `routing` without the matches that no request of this client can meet.

    `gateways` are those that the client serves. The same object if there is nothing to leave out.
    """
    client = _Client(namespace, labels, gateways)
    http = _routes(routing.http, client)
    tls = _routes(routing.tls, client)
    tcp = _routes(routing.tcp, client)
    if http is routing.http and tls is routing.tls and tcp is routing.tcp:
        return routing
    return structs.replace(routing, http=http, tls=tls, tcp=tcp)


def at_gateway(routing: Routing, gateway: str) -> Routing:
    """Return a routing that was pruned for a router without what is for others of its gateways."""
    return prune(routing, "", _NO_LABELS, gateways=frozenset({gateway}))


class _Client(NamedTuple):
    """The proxy for which a routing is pruned."""

    namespace: str
    labels: Mapping[str, str]
    gateways: frozenset[str]


def _routes(routes: tuple[Route, ...], client: _Client) -> tuple[Route, ...]:
    kept = [_route(route, client) for route in routes]
    if all(new is old for new, old in zip(kept, routes, strict=True)):
        return routes
    return tuple(route for route in kept if route is not None)


def _route(route: Route, client: _Client) -> Route | None:
    kept = [_match(match, client) for match in route.matches]
    if all(new is old for new, old in zip(kept, route.matches, strict=True)):
        return route
    matches = tuple(match for match in kept if match is not None)
    return structs.replace(route, matches=matches) if matches else None


def _match(match: HttpMatch | StreamMatch, client: _Client) -> HttpMatch | StreamMatch | None:
    if not _chooses(match):
        return match
    if not _concerns(match, client):
        return None
    own = () if client.gateways is SIDECARS else client.gateways.intersection(match.gateways)
    return structs.replace(
        match, gateways=tuple(sorted(own)), source_labels=_NO_LABELS, source_namespace=""
    )


def _concerns(match: HttpMatch | StreamMatch, client: _Client) -> bool:
    meant = not match.gateways or not client.gateways.isdisjoint(match.gateways)
    # As in Istio, an HTTP match that names gateways is for every client that serves one of them.
    if match.gateways and isinstance(match, HttpMatch):
        return meant
    from_here = match.source_namespace in {"", client.namespace}
    return meant and from_here and match.source_labels.items() <= client.labels.items()
