"""The outlook: what one mesh looks like from outside any namespace, shared by all clients.

Indexes over the tables that decide what clients see, and what was made of them, for as long as it
is used. Most clients see most services alike, so what they see are the very same objects, down to
the tuple that holds them: whoever derives something from such a tuple does it once for all.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from msgspec import structs

from libs.model.ids import Ref
from libs.model.mesh import Mesh
from libs.model.proxy_settings import ProxySettings
from libs.model.security import MtlsMode
from libs.model.service import Resolution, Service
from libs.model.settings import MeshSettings
from libs.model.sidecar import Sidecar
from libs.model.traffic import Routing
from libs.proxy.facing import Facing
from libs.proxy.facts import EndpointFacts
from libs.proxy.gateways import GatewayIndex
from libs.proxy.memo import Interner, Memo
from libs.proxy.node import Proxy, ProxyType
from libs.proxy.peers import PeerPolicies
from libs.proxy.policies import MergedPolicy, PolicyIndex
from libs.proxy.routings import RoutingIndex
from libs.proxy.scope import ScopedService
from libs.proxy.sidecars import Narrowed, SidecarIndex
from libs.proxy.visibility import ServiceIndex, concrete

_NO_LABELS: dict[str, str] = {}
_MAX_SETTINGS = 1024
"""Proxies' own settings that are remembered; with more of them all are forgotten."""


class Listing(NamedTuple):
    """What a client may see of the services."""

    services: tuple[Service, ...]  # by host; none that only stands for another
    aliases: Mapping[str, tuple[str, ...]]  # further hosts of the same service, by host


class Outlook:
    """One mesh after another, as clients look at it."""

    def __init__(self) -> None:
        self._services: Memo[ServiceIndex] = Memo()
        self._policies: Memo[PolicyIndex] = Memo()
        self._routings: Memo[RoutingIndex] = Memo()
        self._peers: Memo[PeerPolicies] = Memo()
        self._gateways: Memo[GatewayIndex] = Memo()
        self._sidecars: Memo[SidecarIndex] = Memo()
        self._merged: Memo[MergedPolicy] = Memo()
        self._faced: Memo[Service] = Memo()
        self._listed: dict[tuple[str, Facing], Listing] = {}
        self._forbidden: dict[str, tuple[Ref, ...]] = {}
        self._own_settings: dict[ProxySettings, MeshSettings] = {}
        self.settings = MeshSettings()
        self._alike: dict[int, tuple[Listing, tuple[ScopedService, ...]]] = {}
        self.one = Interner()
        self.narrowed: Memo[Narrowed] = Memo()
        self.pruned: Memo[Routing] = Memo()
        self.scoped: Memo[ScopedService] = Memo()
        self.facts: Mapping[str, EndpointFacts] = {}

    def turn_to(self, mesh: Mesh, facts: Mapping[str, EndpointFacts]) -> None:
        """Look at `mesh`. Indexes of tables that did not change are kept."""
        settings = mesh.settings
        self._turn()
        if settings is not self.settings:
            self._own_settings = {}
        self.settings = settings
        self.facts = facts
        self.services = self._services.get(
            (mesh.services, settings), partial(self._index_services, mesh)
        )
        self.policies = self._policies.get(
            (mesh.host_policies, settings), partial(self._index_policies, mesh)
        )
        self.routings = self._routings.get(
            (mesh.routings, settings),
            lambda: RoutingIndex(mesh.routings.values(), settings.routing_export_to),
        )
        self.gateways = self._gateways.get(
            (mesh.gateways, mesh.routings, settings),
            lambda: GatewayIndex(
                mesh.gateways.values(), mesh.routings.values(), settings.routing_export_to
            ),
        )
        self.peers = self._peers.get((mesh.peer_policies, settings), lambda: PeerPolicies(mesh))
        self.sidecars = self._sidecars.get(
            (mesh.sidecars, settings),
            lambda: SidecarIndex(mesh.sidecars.values(), settings.root_namespace),
        )

    def settings_of(self, own: ProxySettings | None) -> MeshSettings:
        """Return the mesh's settings with those of a proxy; equal ones are the same object."""
        if own is None or own == self.settings.proxy:
            return self.settings
        if len(self._own_settings) >= _MAX_SETTINGS:
            self._own_settings = {}
        made = structs.replace(self.settings, proxy=own)
        return self._own_settings.setdefault(own, made)

    def sidecar(self, proxy: Proxy) -> Sidecar | None:
        """Return the Sidecar that `proxy` goes by; routers go by none."""
        if proxy.type is ProxyType.ROUTER:
            return None
        return self.sidecars.choose(proxy.namespace, proxy.labels)

    def usable(self, service: Service, client: Facing, ports: frozenset[int]) -> Service:
        """Return `service` as a client uses it: with its addresses, and of its ports only those."""
        limited = ",".join(map(str, sorted(ports)))
        return self._faced.get(
            (service, str(client), limited), lambda: _limited(client.sees(service), ports)
        )

    def listing(self, namespace: str, client: Facing) -> Listing:
        """Return what a namespace sees of the services, as a client uses them."""
        key = (namespace, client)
        found = self._listed.get(key)
        if found is None:
            seen = self.services.seen_from(namespace)
            found = self._listed[key] = listing(seen, lambda one: self.usable(one, client, _ALL))
        return found

    def forbidding(self, namespace: str) -> tuple[Ref, ...]:
        """Return the peer policies that forbid mesh TLS in a whole namespace."""
        found = self._forbidden.get(namespace)
        if found is None:
            mode, refs = self.peers.effective(namespace, _NO_LABELS, None)
            found = self._forbidden[namespace] = refs if mode is MtlsMode.DISABLE else ()
        return found

    def alike(
        self, found: Listing, make: Callable[[Service, tuple[str, ...]], ScopedService]
    ) -> tuple[ScopedService, ...]:
        """Return the services of a listing as clients see them for whom nothing is special."""
        services = self.one(found.services)
        known = self._alike.get(id(services))
        if known is None or known[0].aliases != found.aliases:
            aliases = found.aliases
            made = self.one(make(one, aliases.get(one.host, ())) for one in services)
            known = self._alike[id(services)] = (Listing(services, aliases), made)
        return known[1]

    def _turn(self) -> None:
        for memo in (self._services, self._policies, self._routings, self._peers, self._gateways):
            memo.turn()
        self._sidecars.turn()
        self._faced.turn()
        self.one.turn()
        self.narrowed.turn()
        self.pruned.turn()
        self.scoped.turn()
        self._forbidden = {}
        self._alike = {}

    def _index_services(self, mesh: Mesh) -> ServiceIndex:
        self._listed = {}
        return ServiceIndex(mesh.services.values(), mesh.settings.service_export_to)

    def _index_policies(self, mesh: Mesh) -> PolicyIndex:
        self._merged.turn()
        return PolicyIndex(
            mesh.host_policies.values(),
            mesh.settings.host_policy_export_to,
            mesh.settings.root_namespace,
            made=self._merged,
        )


_ALL: frozenset[int] = frozenset()


def listing(seen: Mapping[str, Service], usable: Callable[[Service], Service]) -> Listing:
    """Return the listing of what is seen, by host, with each service as it is used."""
    found: list[Service] = []
    aliases: dict[str, list[str]] = {}
    for host, service in sorted(seen.items()):
        if service.resolution is not Resolution.ALIAS:
            found.append(usable(service))
        elif (target := concrete(seen, service)) is not None:
            aliases.setdefault(target.host, []).append(host)
    return Listing(tuple(found), {host: tuple(names) for host, names in aliases.items()})


def _limited(service: Service, ports: frozenset[int]) -> Service:
    if not ports or all(port.number in ports for port in service.ports):
        return service
    left = tuple(port for port in service.ports if port.number in ports)
    return structs.replace(service, ports=left)
