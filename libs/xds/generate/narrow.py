"""Narrowing: of an outbound scope what one type of resources is made of, and nothing else.

What a generator is not given it cannot read, so scopes that differ elsewhere become one and the
same object here, and whatever was made of that is found again: a policy that only a cluster obeys
touches no route list, and a routing of requests no listener. Who needs more in a generator has to
leave more here. Only for sidecars: routers and proxyless clients are few, and get the whole scope.
"""

from collections.abc import Callable
from functools import partial
from weakref import WeakValueDictionary

from msgspec import structs

from libs.model import wire
from libs.model.ids import Ref
from libs.model.settings import MeshSettings
from libs.model.traffic import LoadBalancing, Routing, TrafficPolicy
from libs.proxy.memo import WeakMemo
from libs.proxy.node import ProxyType
from libs.proxy.scope import OutboundScope, ScopedService, ScopedSubset

_Service = Callable[[ScopedService], ScopedService]
_Routing = Callable[[Routing], Routing | None]

_NO_SETTINGS = MeshSettings()
_NOTHING_SAID = TrafficPolicy()
_MAX_LISTS = 256
"""Lists of services or routings that are remembered; those of more classes are narrowed anew."""


class _Narrowing:
    """Makes scopes narrower in one way."""

    def __init__(self, service: _Service, routing: _Routing, **blank: object) -> None:
        self._service = service
        self._routing = routing
        self._blank = blank
        self._of: WeakMemo[OutboundScope] = WeakMemo()
        self._services = _Lists(service)
        self._routings = _Lists(routing)
        self._known: WeakValueDictionary[tuple[object, ...], OutboundScope] = WeakValueDictionary()

    def __call__(self, scope: OutboundScope) -> OutboundScope:
        if scope.type is not ProxyType.SIDECAR:
            return scope
        return self._of.get(scope, (), partial(self._narrowed, scope))

    def _narrowed(self, scope: OutboundScope) -> OutboundScope:
        services, of_services = self._services(scope.services)
        routings, of_routings = self._routings(scope.routings)
        rest = structs.replace(
            scope, services=(), routings=(), settings=_NO_SETTINGS, **self._blank
        )
        # The ids are of objects that the remembered scope itself holds.
        key = (of_services, of_routings, id(scope.settings), wire.encode(rest))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = structs.replace(
                rest, services=services, routings=routings, settings=scope.settings
            )
        return found


class _Lists:
    """Narrowed lists by the list that they were made of."""

    def __init__(self, narrow: Callable[..., object]) -> None:
        self._narrow = narrow
        self._known: dict[int, tuple[object, tuple[object, ...], tuple[int, ...]]] = {}

    def __call__(self, items: tuple[object, ...]) -> tuple[tuple, tuple[int, ...]]:  # type: ignore[type-arg]
        """Return what is left of `items`, and the ids of that."""
        entry = self._known.get(id(items))
        if entry is None:
            found = tuple(one for one in map(self._narrow, items) if one is not None)
            if len(self._known) >= _MAX_LISTS:
                del self._known[next(iter(self._known))]
            entry = self._known[id(items)] = (items, found, tuple(map(id, found)))
        return entry[1], entry[2]
