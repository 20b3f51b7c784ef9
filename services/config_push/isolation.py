"""Isolation: when a generator fails, find what it fails on and do without just that.

A generator that fails is a bug of ours; this keeps one unforeseen object from holding up all the
others. Routings, a gateway's ports, services and endpoints are left out by halves until the guilty
ones are found. What came from a guilty one keeps its last good state. Access policies are never
left out: that could open what they close, so then the whole type keeps its last good state.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct, structs

from libs.model.ids import Ref
from libs.proxy.scope import EndpointScopes, GatewayListener, ProxyScope, ScopedService
from libs.xds.types import ResourceSet, resource_set

Generator = Callable[[ProxyScope], ResourceSet]

MAX_ATTEMPTS = 48


class Found(Struct, frozen=True):
    """What can be sent, if anything, and whose fault it is, if that is known."""

    resources: ResourceSet | None
    guilty: tuple[Ref, ...] = ()


class _Part(Struct, frozen=True):
    """One kind of things in a scope that can be left out."""

    items: Callable[[ProxyScope], Sequence[Any]]
    keep: Callable[[ProxyScope, Sequence[Any]], ProxyScope]
    refs: Callable[[Any], Sequence[Ref]]


class _OutOfAttemptsError(Exception):
    pass


class _Trial:
    """Runs a generator on a scope with only some items of one part, a bounded number of times."""

    def __init__(self, generator: Generator, scope: ProxyScope) -> None:
        self._generator = generator
        self._scope = scope
        self._left = MAX_ATTEMPTS

    def __call__(self, part: _Part, items: Sequence[Any]) -> ResourceSet | None:
        if not self._left:
            raise _OutOfAttemptsError
        self._left -= 1
        try:
            return self._generator(part.keep(self._scope, items))
        except Exception:  # noqa: BLE001  # whatever it is, the question is only whether it fails
            return None

    def guilty(self, part: _Part, items: Sequence[Any]) -> list[Any]:
        """Return those of `items` on which it fails; all of them if only together."""
        if not items or self(part, items) is not None:
            return []
        if len(items) == 1:
            return list(items)
        half = len(items) // 2
        found = self.guilty(part, items[:half]) + self.guilty(part, items[half:])
        return found or list(items)


def without_guilty(generator: Generator, scope: ProxyScope, last_good: ResourceSet | None) -> Found:
    """Return what `generator` makes of `scope` without what it fails on."""
    trial = _Trial(generator, scope)
    try:
        for part in (_ROUTINGS, _GATEWAYS, _SERVICES, _ENDPOINTS):
            items = part.items(scope)
            if items and trial(part, ()) is not None:
                guilty = trial.guilty(part, items)
                made = trial(part, [item for item in items if not _among(item, guilty)])
                refs = tuple(ref for item in guilty for ref in part.refs(item))
                return Found(_with_last_good(made, last_good, frozenset(refs)), refs)
    except _OutOfAttemptsError:
        pass
    return Found(None)


def _among(item: object, guilty: Sequence[object]) -> bool:
    return any(item is one for one in guilty)


def _with_last_good(
    made: ResourceSet | None, last_good: ResourceSet | None, guilty: frozenset[Ref]
) -> ResourceSet | None:
    if made is None:
        return None
    old = last_good.resources if last_good else {}
    kept = {name: item for name, item in old.items() if guilty.intersection(item.sources)}
    found = resource_set(made.type_url, {**made.resources, **kept}.values(), made.outcomes)
    return structs.replace(found, conflicts=made.conflicts)


def _keep_routings(scope: ProxyScope, routings: Sequence[Any]) -> ProxyScope:
    outbound = structs.replace(scope.outbound, routings=tuple(routings))
    return structs.replace(scope, outbound=outbound)


def _keep_services(scope: ProxyScope, services: Sequence[Any]) -> ProxyScope:
    outbound = structs.replace(scope.outbound, services=tuple(services))
    return structs.replace(scope, outbound=outbound)


def _keep_endpoints(scope: ProxyScope, endpoints: Sequence[Any]) -> ProxyScope:
    kept = EndpointScopes((one.cluster, one) for one in endpoints)
    return structs.replace(scope, endpoints=kept)


def _keep_gateways(scope: ProxyScope, gateways: Sequence[Any]) -> ProxyScope:
    outbound = structs.replace(scope.outbound, gateways=tuple(gateways))
    return structs.replace(scope, outbound=outbound)


def _gateway_refs(listener: GatewayListener) -> Sequence[Ref]:
    return tuple(bound.ref for bound in listener.servers)


def _service_refs(scoped: ScopedService) -> Sequence[Ref]:
    return scoped.refs


_ROUTINGS = _Part(
    lambda scope: scope.outbound.routings, _keep_routings, lambda routing: (routing.ref,)
)
_GATEWAYS = _Part(lambda scope: scope.outbound.gateways, _keep_gateways, _gateway_refs)
_SERVICES = _Part(lambda scope: scope.outbound.services, _keep_services, _service_refs)
_ENDPOINTS = _Part(
    lambda scope: tuple(scope.endpoints.values()), _keep_endpoints, lambda one: one.refs
)
