"""Places: at which addresses connections to a service arrive, so where it needs a listener.

With interception that is what clients dial: an address of the service, or any. Without it, and
where a Sidecar says so, it is a real socket of the proxy.
"""

from collections.abc import Iterator
from typing import NamedTuple

from libs.model.service import Protocol, Resolution, ServicePort
from libs.proxy.node import Families, Interception
from libs.proxy.scope import OutboundScope, ScopedService
from libs.xds.generate.egress import Egress

WILDCARD = "0.0.0.0"  # noqa: S104 - a virtual listener: nothing binds to it
WILDCARD_IPV6 = "::"

_LOOPBACK = "127.0.0.1"
_LOOPBACK_IPV6 = "::1"
_PRIVILEGED = 1024


class Place(NamedTuple):
    """Where connections to a service arrive."""

    address: str
    subnets: tuple[str, ...] = ()  # of a service whose addresses are blocks
    others: tuple[str, ...] = ()  # addresses of a further family
    bound: bool = False  # to a real socket
    chosen: bool = False  # by a Sidecar: services share it

    @property
    def wildcard(self) -> bool:
        """Whether connections to every address arrive here."""
        return self.address in {WILDCARD, WILDCARD_IPV6}


def anywhere(scope: OutboundScope) -> Place:
    """Return the place where connections to every address arrive."""
    if scope.families is Families.IPV6:
        return Place(WILDCARD_IPV6)
    return Place(WILDCARD, others=(WILDCARD_IPV6,) if scope.families is Families.DUAL else ())


def own(scope: OutboundScope, listener: Egress) -> Place:
    """Return the place that a Sidecar chose for a listener: an address, or the proxy's own."""
    explicit = scope.interception is Interception.NONE
    bound = explicit or listener.bound or bool(listener.socket)
    if listener.bind:
        return Place(listener.bind, bound=bound, chosen=True)
    if scope.outbound_address:
        return Place(scope.outbound_address, bound=True, chosen=True)
    if scope.families is Families.IPV6:
        return Place(_LOOPBACK_IPV6, bound=True, chosen=True)
    others = (_LOOPBACK_IPV6,) if scope.families is Families.DUAL else ()
    return Place(_LOOPBACK, others=others, bound=True, chosen=True)


def of_service(  # noqa: PLR0917 - who is reached, at which port, through which listener
    scope: OutboundScope, scoped: ScopedService, port: ServicePort, listener: Egress
) -> Iterator[Place]:
    """Yield the places of one port of a service."""
    service = scoped.service
    if port.protocol is Protocol.UDP:
        return
    if listener.own and (listener.bind or listener.bound):
        yield own(scope, listener)
    elif listener.bound or scope.interception is Interception.NONE:
        # Each port of a service is one of the proxy's, too.
        if _opens(scope, port):
            address = Place(scope.outbound_address, bound=True)
            yield own(scope, listener) if listener.bound else address
    elif port.protocol.is_http:
        yield anywhere(scope)
    elif service.resolution is Resolution.ORIGINAL and not service.addresses:
        yield from _of_pods(scope, scoped)
    else:
        yield from _of_addresses(scope, scoped)


def _opens(scope: OutboundScope, port: ServicePort) -> bool:
    """Tell whether the proxy may open a socket on the port of a service."""
    return port.number >= _PRIVILEGED or not scope.unprivileged


def _of_pods(scope: OutboundScope, scoped: ScopedService) -> Iterator[Place]:
    """Yield the pods of a headless service, which clients dial; not the proxy's own."""
    service = scoped.service
    without_pods = service.registry != "Kubernetes" and not service.selector
    if without_pods and not scoped.pod_addresses:
        yield anywhere(scope)
    for address in scoped.pod_addresses:
        if address not in scope.own_addresses:
            yield Place(address)


def _of_addresses(scope: OutboundScope, scoped: ScopedService) -> Iterator[Place]:
    service = scoped.service
    single = tuple(address for address in service.addresses if "/" not in address)
    blocks = tuple(address for address in service.addresses if "/" in address)
    if service.registry == "Kubernetes" and single:
        # Its addresses are one address in each family, and a listener may have several.
        others = single[1:] if scope.families is Families.DUAL else ()
        yield Place(single[0], others=others)
    else:
        yield from map(Place, single)
    if blocks or not single:
        yield anywhere(scope)._replace(subnets=blocks)
