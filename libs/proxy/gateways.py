"""Gateways as one router sees them: which select it, and what it listens on for them together.

Gateways are taken oldest first, and a port at an address belongs to what its first server speaks
(`0.0.0.0` and `::` are no addresses of their own: they say what no address says, too):
requests in clear text, which servers share because requests say whom they are for; TLS, which they
share as long as each has server names of its own; or any other bytes, for one server alone. Who
comes later and does not fit is left out and told, as far as it does not fit: of a TLS server only
those hosts go that an older one has.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec import structs

from libs.model import hosts
from libs.model.gateway import ANY_NAMESPACE, Gateway, Server, ServerHost, ServerTlsMode
from libs.model.ids import Ref
from libs.model.service import Resolution
from libs.model.traffic import MESH_GATEWAY, Routing
from libs.proxy.peers import selects
from libs.proxy.routings import source_labels
from libs.proxy.scope import BoundServer, GatewayListener, OutboundScope, ScopedService
from libs.proxy.visibility import PUBLIC, audience

_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to


class Conflict(NamedTuple):
    """A server that lost its port, or one of its hosts, to an older one."""

    lost: Ref
    server: int  # its index in the gateway
    kept: Ref
    host: str = ""  # empty: the whole server, as the two speak different protocols


class Merged(NamedTuple):
    """What gateways come to together."""

    listeners: tuple[GatewayListener, ...]  # by port and address
    conflicts: tuple[Conflict, ...]


def age(row: Gateway | Routing) -> tuple[int, str, str]:
    """Return the key by which the oldest comes first; names break ties."""
    return row.created, row.name, row.namespace


def merge(gateways: Iterable[Gateway], targets: Mapping[int, int]) -> Merged:
    """Return what a router listens on for `gateways`, oldest first.

    `targets` are its own ports by the port under which a service publishes them.
    """
    drafts: dict[tuple[int, str], _Draft] = {}
    conflicts: list[Conflict] = []
    for gateway in sorted(gateways, key=age):
        for index, server in enumerate(gateway.servers):
            if not server.number:  # a socket that is a file
                continue
            port = targets.get(server.number, server.number)
            bind = "" if server.bind in _EVERYWHERE else server.bind
            draft = drafts.setdefault((port, bind), _Draft(port))
            conflicts += draft.add(gateway, index)
    made = (draft.listener() for _, draft in sorted(drafts.items(), key=lambda item: item[0]))
    return Merged(tuple(one for one in made if one.servers), tuple(conflicts))


class _Draft:
    """One listener in the making."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._servers: list[BoundServer] = []
        self._names: dict[str, Ref] = {}  # server names of TLS, with the gateway that has them

    def add(self, gateway: Gateway, index: int) -> Iterator[Conflict]:
        """Put a server on the listener as far as there is room; yield what there is no room for."""
        server = gateway.servers[index]
        if self._servers and not _fits(self._servers[0].server, server):
            yield Conflict(gateway.ref, index, self._servers[0].ref)
            return
        kept = server.hosts
        if server.tls is not None:
            taken = [host for host in server.hosts if host.name in self._names]
            for host in taken:
                yield Conflict(gateway.ref, index, self._names[host.name], host.name)
            kept = tuple(host for host in server.hosts if host not in taken)
            self._names.update((host.name, gateway.ref) for host in kept)
        if kept:
            bound = structs.replace(server, hosts=_once(kept))
            self._servers.append(BoundServer(gateway.full_name, gateway.ref, bound))

    def listener(self) -> GatewayListener:
        """Return the listener as it is now.

        Where servers write "everywhere" in several ways, it is wherever the proxy has addresses.
        """
        written = {bound.server.bind for bound in self._servers}
        bind = written.pop() if len(written) == 1 else ""
        return GatewayListener(self._port, bind, tuple(self._servers))


def _fits(first: Server, other: Server) -> bool:
    if first.tls is not None or other.tls is not None:
        return first.tls is not None and other.tls is not None
    return first.protocol.is_http and other.protocol.is_http


def _once(found: Iterable[ServerHost]) -> tuple[ServerHost, ...]:
    return tuple(dict.fromkeys(found))


def bound_hosts(server: Server, routing: Routing) -> tuple[str, ...]:
    """Return the hosts that a server lets a routing answer for: of two patterns the narrower."""
    found: dict[str, None] = {}
    for mine in server.hosts:
        if mine.namespace not in {ANY_NAMESPACE, routing.namespace}:
            continue
        for theirs in routing.hosts:
            if hosts.matches(theirs, mine.name):
                found[mine.name] = None
            elif hosts.matches(mine.name, theirs):
                found[theirs] = None
    return tuple(found)


class GatewayIndex:
    """The gateways of a mesh and the routings that bind to them."""

    def __init__(
        self, gateways: Iterable[Gateway], routings: Iterable[Routing], default: Sequence[str]
    ) -> None:
        self._gateways = sorted(gateways, key=age)
        self._routings: dict[str, list[tuple[Routing, frozenset[str]]]] = {}
        labels = {label for gateway in self._gateways for label in gateway.selector}
        for routing in sorted(routings, key=age):
            names = [name for name in routing.gateways if name != MESH_GATEWAY]
            if names:
                labels.update(source_labels(routing))
            seen_by = audience(routing.export_to, default, routing.namespace)
            for name in names:
                self._routings.setdefault(name, []).append((routing, seen_by))
        self.labels = frozenset(labels)
        """The labels by which gateways and their routings choose proxies."""

    def selecting(self, labels: Mapping[str, str]) -> list[Gateway]:
        """Return the gateways for a proxy whose workload carries `labels`, oldest first."""
        return [gateway for gateway in self._gateways if selects(gateway.selector, labels)]

    def routings(self, names: Iterable[str], namespace: str) -> list[Routing]:
        """Return the routings bound to gateways that `namespace` sees, each once, in their order.

        As for sidecars: those that it keeps for itself first, then those exported to it, then
        public ones; the oldest first among each.
        """
        found = {
            # An Ingress has one for each of its hosts.
            (routing.ref, routing.hosts): (_distance(routing, seen_by, namespace), routing)
            for name in names
            for routing, seen_by in self._routings.get(name, ())
            if PUBLIC in seen_by or namespace in seen_by
        }
        ordered = sorted(found.values(), key=lambda it: (it[0], age(it[1])))
        return [routing for _, routing in ordered]


def _distance(routing: Routing, seen_by: frozenset[str], namespace: str) -> int:
    if namespace not in seen_by:
        return 2
    return 0 if routing.namespace == namespace else 1


def passed_by_name(scope: OutboundScope, scoped: ScopedService) -> bool:
    """Tell whether a router passes TLS on to a service by the name that a client asks for."""
    return any(
        passes_by_name(bound.server, scoped)
        for listener in scope.gateways
        for bound in listener.servers
    )


def passes_by_name(server: Server, scoped: ScopedService) -> bool:
    """Tell whether one server passes TLS on to a service by the name that a client asks for."""
    if server.tls is None or server.tls.mode is not ServerTlsMode.AUTO_PASSTHROUGH:
        return False
    service = scoped.service
    known = service.resolution in {Resolution.ENDPOINTS, Resolution.ORIGINAL}
    return (
        (known or any(endpoint.mtls for endpoint in scoped.dns_endpoints))
        and not service.external
        and any(
            host.namespace in {ANY_NAMESPACE, service.namespace}
            and hosts.matches(host.name, service.host)
            for host in server.hosts
        )
    )
