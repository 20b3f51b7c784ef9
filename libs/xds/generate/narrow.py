"""Narrowing: of an outbound scope what one type of resources is made of, and nothing else.

What a generator is not given it cannot read, so scopes that differ elsewhere become one and the
same object here, and whatever was made of that is found again: a policy that only a cluster obeys
touches no route list, and a routing of requests no listener. Who needs more in a generator has to
leave more here. Only for sidecars: routers and proxyless clients are few, and get the whole scope.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from msgspec import structs

from libs.model import wire
from libs.model.ids import Ref
from libs.model.settings import MeshSettings
from libs.model.traffic import HttpMatch, HttpRoute, LoadBalancing, Routing, TrafficPolicy
from libs.proxy.crossing import NO_CROSSING
from libs.proxy.memo import WeakMemo
from libs.proxy.node import ProxyType
from libs.proxy.policies import NOTHING_SAID
from libs.proxy.scope import ANYWHERE, OutboundScope, ScopedService, ScopedSubset
from libs.xds.generate.connection_policies import of_connections

T = TypeVar("T")

_Service = Callable[[ScopedService], ScopedService]
_Routing = Callable[[Routing], Routing | None]
_Inputs = tuple[object, ...]

_NO_SETTINGS = MeshSettings()
_MAX_LISTS = 16
"""Lists of services or routings that are remembered; those of further classes are made anew."""


class _Narrowing:
    """Makes scopes narrower in one way."""

    def __init__(self, service: _Service, routing: _Routing, **blank: object) -> None:
        self._blank = blank
        self._of: WeakMemo[OutboundScope] = WeakMemo()
        self._services = _Lists(service)
        self._routings = _Lists(routing)
        self._known: WeakValueDictionary[_Inputs, OutboundScope] = WeakValueDictionary()

    def __call__(self, scope: OutboundScope) -> OutboundScope:
        return self._of.get(scope, (), partial(self._narrowed, scope))

    def _narrowed(self, scope: OutboundScope) -> OutboundScope:
        services, routings = self._services(scope.services), self._routings(scope.routings)
        rest = structs.replace(
            scope, services=(), routings=(), settings=_NO_SETTINGS, **self._blank
        )
        # Of objects that the scope that is remembered holds itself, so that none can be another's.
        ids = (*map(id, services), 0, *map(id, routings), 0, id(scope.settings))
        key = (ids, wire.encode(rest))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = structs.replace(
                rest, services=services, routings=routings, settings=scope.settings
            )
        return found


class _Lists(Generic[T]):
    """What is left of lists."""

    def __init__(self, narrow: Callable[[T], T | None]) -> None:
        self._narrow = narrow
        self._known: dict[int, tuple[tuple[T, ...], tuple[T, ...]]] = {}

    def __call__(self, items: tuple[T, ...]) -> tuple[T, ...]:
        entry = self._known.get(id(items))
        if entry is None:
            found = tuple(one for one in map(self._narrow, items) if one is not None)
            if len(self._known) >= _MAX_LISTS:
                del self._known[next(iter(self._known))]
            entry = self._known[id(items)] = (items, found)
        return entry[1]


class _Services:
    """Services narrowed in one way: equal ones are one object."""

    def __init__(self, narrow: _Service) -> None:
        self._narrow = narrow
        self._of: WeakMemo[ScopedService] = WeakMemo()
        self._known: WeakValueDictionary[_Inputs, ScopedService] = WeakValueDictionary()

    def __call__(self, scoped: ScopedService) -> ScopedService:
        return self._of.get(scoped, (), partial(self._interned, scoped))

    def _interned(self, scoped: ScopedService) -> ScopedService:
        found = self._narrow(scoped)
        said = tuple((subset.name, *_said(subset)) for subset in found.subsets)
        pods = (found.pod_addresses, found.pod_names)
        key = (id(found.service), found.aliases, pods, found.policy_refs, said)
        return self._known.setdefault(key, found)


def _with(scoped: ScopedService, subsets: Iterable[ScopedSubset] = ()) -> ScopedService:
    return ScopedService(
        service=scoped.service,
        subsets=tuple(subsets),
        aliases=scoped.aliases,
        pod_addresses=scoped.pod_addresses,
    )


def _subsets(
    scoped: ScopedService, narrow: Callable[[TrafficPolicy], TrafficPolicy]
) -> Iterator[ScopedSubset]:
    """Yield the subsets with what is left of their policies."""
    for subset in scoped.subsets:
        policies = {
            port: policy if policy is NOTHING_SAID else narrow(policy)
            for port, policy in subset.policies.items()
        }
        yield ScopedSubset(name=subset.name, labels={}, policies=policies)


def _said(subset: ScopedSubset) -> Iterator[tuple[int, bytes]]:
    for port, policy in subset.policies.items():
        if policy is not NOTHING_SAID:
            yield port, wire.digest(policy)


def _hashing(policy: TrafficPolicy) -> LoadBalancing | None:
    balancing = policy.load_balancing
    if balancing is None or balancing.consistent_hash is None:
        return None
    return LoadBalancing(consistent_hash=balancing.consistent_hash)


def _of_requests(policy: TrafficPolicy) -> TrafficPolicy:
    """Return what routes say of a policy: by what requests are hashed."""
    hashing = _hashing(policy)
    return NOTHING_SAID if hashing is None else TrafficPolicy(load_balancing=hashing)


def _for_routes(scoped: ScopedService) -> ScopedService:
    found = _with(scoped, _subsets(scoped, _of_requests))
    return structs.replace(found, pod_addresses=(), policy_refs=scoped.policy_refs)


def _for_streams(scoped: ScopedService) -> ScopedService:
    found = _with(scoped, _subsets(scoped, of_connections))
    if all(policy is NOTHING_SAID for one in found.subsets for policy in one.policies.values()):
        return found
    return structs.replace(found, policy_refs=scoped.policy_refs)


def _for_listeners(scoped: ScopedService) -> ScopedService:
    if all(port.protocol.is_http for port in scoped.service.ports):
        return _with(scoped)
    return _for_streams(scoped)


def _for_names(scoped: ScopedService) -> ScopedService:
    found = _with(scoped)
    return structs.replace(found, pod_names=scoped.pod_names) if scoped.pod_names else found


def _of_http(routing: Routing) -> Routing:
    return _without(routing, "tcp", "tls") if routing.tcp or routing.tls else routing


def _of_streams(routing: Routing) -> Routing | None:
    if not routing.tcp and not routing.tls:
        return None
    return _without(routing, "http") if routing.http else routing


_outlines: WeakValueDictionary[_Inputs, Routing] = WeakValueDictionary()


def _outline(routing: Routing) -> Routing:
    """Return what of a routing decides which hosts there are: where it has routes at all."""
    ports = tuple(tuple(match.port for match in http.matches) for http in routing.http)
    key = (routing.ref, routing.namespace, routing.name, routing.hosts, ports)
    found = _outlines.get(key)
    if found is None:
        http = tuple(HttpRoute(matches=tuple(HttpMatch(port=one) for one in of)) for of in ports)
        found = Routing(
            ref=routing.ref,
            namespace=routing.namespace,
            name=routing.name,
            hosts=routing.hosts,
            http=http,
        )
        found = _outlines.setdefault(key, found)
    return found


def _nothing(_: Routing) -> None:
    return None


_parts: WeakMemo[Routing] = WeakMemo()


def _without(routing: Routing, *fields: str) -> Routing:
    blank = dict.fromkeys(fields, ())
    return _parts.get(routing, fields, lambda: structs.replace(routing, **blank))


_UNHEARD = {"egress": (), "allow_any": True, "egress_proxy": None, "sidecar": Ref("")}
_NOWHERE = {"dynamic_dns": False}
_UNDIALLED = {"own_addresses": (), "http_proxy_port": 0, "outbound_address": ""}
_NOBODYS = {"namespace": "", "dns_capture": False}
_ANYWHERE = {"place": ANYWHERE, "ways": NO_CROSSING}

_clusters = _Narrowing(
    lambda scoped: scoped,
    _nothing,
    dns_domain="",
    unprivileged=False,
    **_UNHEARD,
    **_UNDIALLED,
    **_NOBODYS,
)
_routes = _Narrowing(
    _Services(_for_routes), _of_http, unprivileged=False, **_UNDIALLED, **_NOBODYS, **_ANYWHERE
)
_hosts = _Narrowing(
    lambda scoped: scoped,
    _outline,
    unprivileged=False,
    **_UNHEARD,
    **_NOWHERE,
    **_UNDIALLED,
    **_NOBODYS,
)
_http_listeners = _Narrowing(_Services(_for_listeners), _nothing, **_NOBODYS, **_ANYWHERE)
_listeners = _Narrowing(_Services(_for_streams), _of_streams, **_NOBODYS, **_ANYWHERE)
_names = _Narrowing(
    _Services(_for_names),
    _nothing,
    dns_domain="",
    unprivileged=False,
    namespace="",
    **_UNHEARD,
    **_NOWHERE,
    **_ANYWHERE,
    **_UNDIALLED,
)


def for_clusters(scope: OutboundScope) -> OutboundScope:
    """Return what clusters are made of: services with all that is said of how to call them."""
    return _clusters(scope) if scope.type is ProxyType.SIDECAR else scope


def for_routes(scope: OutboundScope) -> OutboundScope:
    """Return what routes are made of. Of policies only by what requests are hashed is left."""
    return _routes(scope) if scope.type is ProxyType.SIDECAR else scope


def for_hosts(scope: OutboundScope) -> OutboundScope:
    """Return what decides which virtual hosts there are; `scope` is what routes are made of."""
    return _hosts(scope)


def for_listeners(scope: OutboundScope) -> OutboundScope:
    """Return what outbound listeners are made of.

    Of policies what TCP proxies obey is left, where there can be any; of routings, what is for TCP
    and TLS.
    """
    if scope.type is not ProxyType.SIDECAR:
        return scope
    routed = any(routing.tcp or routing.tls for routing in scope.routings)
    return _listeners(scope) if routed or _redeclares(scope) else _http_listeners(scope)


def _redeclares(scope: OutboundScope) -> bool:
    """Tell whether a listener of a Sidecar takes requests of any service for plain streams."""
    ports = (view.listener.port for view in scope.egress)
    return any(port is not None and not port.protocol.is_http for port in ports)


def for_names(scope: OutboundScope) -> OutboundScope:
    """Return what tables of names are made of."""
    return _names(scope) if scope.type is ProxyType.SIDECAR else scope
