"""Egress: the listeners that a Sidecar asks for, each with what can be reached through it.

Without a Sidecar, or with one that only says which services there are, everything is one listener
for all ports. A listener with a port of its own takes that port away from the one without.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from msgspec import structs

from libs.model.service import ServicePort
from libs.proxy.memo import WeakMemo
from libs.proxy.scope import EgressView, OutboundScope, ScopedService
from libs.xds.generate.stream_chains import RouteName

UNIX = "unix://"


class Egress(NamedTuple):
    """One listener, or with no view, all of a scope."""

    view: EgressView | None = None

    @property
    def number(self) -> int:
        """The listener's own port, or 0."""
        return self.view.listener.port.number if self.view and self.view.listener.port else 0

    @property
    def own(self) -> bool:
        """Whether the listener has a port or a Unix socket of its own."""
        return self.view is not None and self.view.listener.port is not None

    @property
    def http_proxy(self) -> bool:
        """Whether clients ask the listener as an HTTP proxy."""
        return self.view is not None and self.view.listener.http_proxy

    @property
    def bind(self) -> str:
        """The address that the Sidecar wants, or an empty text."""
        return self.view.listener.bind if self.view else ""

    @property
    def bound(self) -> bool:
        """Whether the Sidecar wants a real socket."""
        return self.view is not None and self.view.listener.bound

    @property
    def socket(self) -> str:
        """The Unix socket that the listener is bound to, or an empty text."""
        return self.bind if self.bind.startswith(UNIX) else ""

    def imports(self, scoped: ScopedService) -> bool:
        """Tell whether a service can be reached through the listener."""
        return self.view is None or scoped.service.host in self.view.services

    def ports(self, scoped: ScopedService, elsewhere: set[int]) -> Iterator[ServicePort]:
        """Yield the ports of a service at the listener; those `elsewhere` have one of their own.

        An HTTP proxy is asked for services by their names, whatever ports they have.
        """
        if self.http_proxy:
            return
        listener = self.view.listener if self.view else None
        for port in scoped.service.ports:
            if listener is None or listener.port is None:
                if port.number not in elsewhere:
                    yield port
            elif listener.port.number in {0, port.number}:
                yield structs.replace(port, protocol=listener.port.protocol)


_memo: WeakMemo[OutboundScope] = WeakMemo()


def listeners(scope: OutboundScope) -> tuple[Egress, ...]:
    """Return the listeners of `scope`, those with ports first."""
    return tuple(map(Egress, scope.egress)) or (Egress(),)


def behind(scope: OutboundScope, name: RouteName) -> OutboundScope:
    """Return `scope` with nothing but what can be reached through the listener of a route name."""
    if not scope.egress:
        return scope
    found = next(
        (one for one in listeners(scope) if one.own and _is(one, name)),
        next((one for one in listeners(scope) if not one.own), None),
    )
    return _memo.get(scope, (name.port, name.socket), partial(_narrowed, scope, found))


def _is(egress: Egress, name: RouteName) -> bool:
    return (egress.number, egress.socket) == (name.port, name.socket)


def _narrowed(scope: OutboundScope, egress: Egress | None) -> OutboundScope:
    view = egress.view if egress else None
    hosts = set(view.services) if view else set[str]()
    refs = set(view.routings) if view else set[str]()
    return structs.replace(
        scope,
        services=tuple(scoped for scoped in scope.services if scoped.service.host in hosts),
        routings=tuple(routing for routing in scope.routings if routing.ref in refs),
    )
