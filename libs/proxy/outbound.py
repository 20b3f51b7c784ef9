"""The outbound part of a scope: what a proxy may call, and everything that decides how.

An `Outlook` is what one mesh looks like from outside any namespace: indexes over its tables, made
once and shared by all clients. `outbound_scope` then looks through it with the eyes of one client.
Endpoints are not decided here but in `libs.proxy.endpoints`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec import structs

from libs.model import wire
from libs.model.ids import Ref, SpiffeId, parse_spiffe_id
from libs.model.mesh import Mesh
from libs.model.proxy_settings import ProxySettings
from libs.model.security import MtlsMode
from libs.model.service import Protocol, Resolution, Service
from libs.model.settings import MeshSettings
from libs.model.sidecar import Sidecar
from libs.model.traffic import Routing, TrafficPolicy
from libs.proxy.endpoints import passes_through
from libs.proxy.facing import Facing, facing
from libs.proxy.facts import NO_ENDPOINTS, EndpointFacts
from libs.proxy.gateways import GatewayIndex, merge
from libs.proxy.memo import Memo
from libs.proxy.node import Interception, Proxy, ProxyType
from libs.proxy.peers import PeerPolicies
from libs.proxy.policies import MergedPolicy, PolicyIndex, at_port, over_default
from libs.proxy.routings import SIDECARS, RoutingIndex, prune
from libs.proxy.scope import (
    EgressView,
    GatewayListener,
    OutboundScope,
    ScopedService,
    ScopedSubset,
)
from libs.proxy.sidecars import ListenerView, SidecarIndex, narrow
from libs.proxy.visibility import ServiceIndex, concrete

_NO_LABELS: dict[str, str] = {}


class Outlook:
    """Indexes over the tables that decide what clients see, and memos of what was made of them."""

    def __init__(self) -> None:
        self._services: Memo[ServiceIndex] = Memo()
        self._policies: Memo[PolicyIndex] = Memo()
        self._routings: Memo[RoutingIndex] = Memo()
        self._peers: Memo[PeerPolicies] = Memo()
        self._gateways: Memo[GatewayIndex] = Memo()
        self._sidecars: Memo[SidecarIndex] = Memo()
        self.faced: Memo[Service] = Memo()
        self.pruned: Memo[Routing] = Memo()
        self.scoped: Memo[ScopedService] = Memo()
        self.facts: Mapping[str, EndpointFacts] = {}
        self.alike: dict[tuple[str, int], ScopedService] = {}  # what all clients see alike

    def turn_to(self, mesh: Mesh, facts: Mapping[str, EndpointFacts]) -> None:
        """Look at `mesh`. Indexes of tables that did not change are kept."""
        settings = mesh.settings
        for memo in (self._services, self._policies, self._routings, self._peers, self._gateways):
            memo.turn()
        self.pruned.turn()
        self._sidecars.turn()
        self.faced.turn()
        self.scoped.turn()
        self.settings: MeshSettings = settings
        self.facts = facts
        self.alike = {}
        self._own_settings: dict[ProxySettings, MeshSettings] = {}
        self.services = self._services.get(
            (mesh.services, settings),
            lambda: ServiceIndex(mesh.services.values(), settings.service_export_to),
        )
        self.policies = self._policies.get(
            (mesh.host_policies, settings),
            lambda: PolicyIndex(
                mesh.host_policies.values(),
                settings.host_policy_export_to,
                settings.root_namespace,
            ),
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
        return self.faced.get(
            (service, str(client), limited), lambda: _limited(client.sees(service), ports)
        )


class Client(NamedTuple):
    """What distinguishes the outbound scopes of two proxies. Equal clients share one scope."""

    proxy_type: str
    namespace: str
    dns_domain: str
    interception: str
    http_proxy_port: int
    outbound_address: str
    unprivileged: bool
    labels: tuple[tuple[str, str], ...]  # only those by which something chooses its clients
    published: tuple[tuple[int, int], ...] = ()  # a router's own ports by those of its services
    sidecar: str = ""  # the Sidecar that the client goes by
    facing: str = ""
    settings: ProxySettings | None = None  # its own, if it has any


def client_of(
    outlook: Outlook, proxy: Proxy, published: tuple[tuple[int, int], ...] = ()
) -> Client:
    """Return what of `proxy` decides its outbound scope."""
    router = proxy.type is ProxyType.ROUTER
    chosen_by = outlook.policies.selector_labels(proxy.namespace)
    chosen_by |= outlook.gateways.labels if router else outlook.routings.source_labels
    explicit = proxy.interception is Interception.NONE
    sidecar = outlook.sidecar(proxy)
    return Client(
        proxy_type=proxy.type,
        namespace=proxy.namespace,
        dns_domain=proxy.dns_domain,
        interception=proxy.interception,
        http_proxy_port=proxy.http_proxy_port,
        outbound_address=proxy.outbound_address if explicit else "",
        unprivileged=(explicit or router) and proxy.unprivileged,
        labels=tuple(sorted((k, v) for k, v in proxy.labels.items() if k in chosen_by)),
        published=published if router else (),
        sidecar=sidecar.ref if sidecar else "",
        facing=str(facing(proxy)),
        settings=proxy.settings,
    )


def outbound_scope(
    outlook: Outlook, proxy: Proxy, published: tuple[tuple[int, int], ...] = ()
) -> OutboundScope:
    """Return what `proxy` may call. Its own addresses are left for `libs.proxy.scoper` to add."""
    client = client_of(outlook, proxy, published)
    gateways = _gateways(outlook, client)
    seen = outlook.services.seen_from(proxy.namespace)
    routings = _routings(outlook, client, gateways)
    ports: Mapping[str, frozenset[int]] = {}
    views: tuple[ListenerView, ...] = ()
    sidecar = outlook.sidecar(proxy)
    if sidecar is not None and sidecar.egress:
        seen, ports, routings, views = narrow(sidecar, proxy.namespace, outlook.services, routings)
    aliases = _aliases(seen)
    labels = dict(client.labels)
    facing_services = facing(proxy)
    return OutboundScope(
        type=proxy.type,
        namespace=proxy.namespace,
        dns_domain=proxy.dns_domain,
        settings=outlook.settings_of(client.settings),
        interception=proxy.interception,
        services=tuple(
            _scoped(
                outlook,
                outlook.usable(service, facing_services, ports.get(host, frozenset())),
                aliases.get(host, ()),
                proxy.namespace,
                labels,
            )
            for host, service in sorted(seen.items())
            if service.resolution is not Resolution.ALIAS
        ),
        routings=routings,
        http_proxy_port=proxy.http_proxy_port,
        outbound_address=client.outbound_address,
        unprivileged=client.unprivileged,
        gateways=gateways,
        families=proxy.families,
        dns_capture=proxy.dns_capture,
        egress=tuple(_egress(view) for view in views) if _divides(views, seen) else (),
        allow_any=_allows_any(sidecar, outlook.settings),
        egress_proxy=sidecar.egress_proxy if sidecar else None,
        sidecar=sidecar.ref if sidecar else Ref(""),
    )


def _allows_any(sidecar: Sidecar | None, settings: MeshSettings) -> bool:
    if sidecar is None or sidecar.allow_any is None:
        return settings.allow_any_outbound
    return sidecar.allow_any


def _divides(views: Iterable[ListenerView], seen: Mapping[str, Service]) -> bool:
    """Tell whether listeners let through other things than all that the scope holds."""
    return any(view.listener.port or view.services.keys() != seen.keys() for view in views)


def _egress(view: ListenerView) -> EgressView:
    return EgressView(
        listener=structs.replace(view.listener, hosts=()),
        services=tuple(view.services),
        routings=tuple(routing.ref for routing in view.routings),
    )


def _limited(service: Service, ports: frozenset[int]) -> Service:
    if not ports or all(port.number in ports for port in service.ports):
        return service
    left = tuple(port for port in service.ports if port.number in ports)
    return structs.replace(service, ports=left)


def dials_itself(scoped: ScopedService) -> bool:
    """Tell whether clients need a listener for each address of a service's endpoints.

    They do for headless services on ports where no host name comes along.
    """
    return bool(scoped.pod_addresses) and any(
        not port.protocol.is_http and port.protocol is not Protocol.UDP
        for port in scoped.service.ports
    )


def _aliases(seen: Mapping[str, Service]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for host, service in sorted(seen.items()):
        if service.resolution is Resolution.ALIAS:
            target = concrete(seen, service)
            if target is not None:
                found.setdefault(target.host, []).append(host)
    return {host: tuple(names) for host, names in found.items()}


_PRIVILEGED = 1024


def _gateways(outlook: Outlook, client: Client) -> tuple[GatewayListener, ...]:
    """Return what a router listens on; nothing for a sidecar."""
    if client.proxy_type != ProxyType.ROUTER:
        return ()
    chosen = outlook.gateways.selecting(dict(client.labels))
    listeners = merge(chosen, dict(client.published)).listeners
    least = _PRIVILEGED if client.unprivileged else 0
    return tuple(listener for listener in listeners if listener.port >= least)


def _routings(
    outlook: Outlook, client: Client, gateways: tuple[GatewayListener, ...]
) -> tuple[Routing, ...]:
    namespace, by_key = client.namespace, dict(client.labels)
    if client.proxy_type == ProxyType.ROUTER:
        served = frozenset(bound.gateway for one in gateways for bound in one.servers)
        visible = outlook.gateways.routings(sorted(served), namespace)
    else:
        served = SIDECARS
        visible = outlook.routings.seen_from(namespace)
    context = repr((client.labels, sorted(served)))

    def pruned(routing: Routing) -> Routing:
        return outlook.pruned.get(
            (routing, namespace, context),
            lambda: prune(routing, namespace, by_key, gateways=served),
        )

    return tuple(pruned(routing) for routing in visible)


def _scoped(  # noqa: PLR0917 - the inputs of one memo entry
    outlook: Outlook,
    service: Service,
    aliases: tuple[str, ...],
    namespace: str,
    labels: Mapping[str, str],
) -> ScopedService:
    # Most clients follow the same policies, and then what one of them sees is what all see.
    alike = not aliases and not outlook.policies.depends_on(namespace)
    if alike and (known := outlook.alike.get((service.key, id(service)))) is not None:
        return known
    scoped = _found(outlook, service, aliases, namespace, labels)
    if alike:
        outlook.alike[service.key, id(service)] = scoped
    return scoped


def _found(  # noqa: PLR0917 - the inputs of one memo entry
    outlook: Outlook,
    service: Service,
    aliases: tuple[str, ...],
    namespace: str,
    labels: Mapping[str, str],
) -> ScopedService:
    policy = outlook.policies.find(
        client=namespace, labels=labels, host=service.host, owner=service.namespace
    )
    facts = outlook.facts.get(service.key, NO_ENDPOINTS)
    mode, refs = outlook.peers.effective(service.namespace, _NO_LABELS, None)
    forbidden = refs if mode is MtlsMode.DISABLE else ()
    inputs = (service, policy, facts, "/".join(forbidden), " ".join(aliases), outlook.settings)
    return outlook.scoped.get(
        inputs,
        lambda: _make_scoped(service, policy, facts, forbidden, aliases, outlook.settings),
    )


def _make_scoped(  # noqa: PLR0917 - the inputs of one memo entry
    service: Service,
    policy: MergedPolicy | None,
    facts: EndpointFacts,
    forbidden: tuple[Ref, ...],
    aliases: tuple[str, ...],
    settings: MeshSettings,
) -> ScopedService:
    subsets = _subsets(service, policy, settings)
    made = ScopedService(
        service=service,
        subsets=subsets,
        policy_refs=policy.refs if policy else (),
        peer_refs=forbidden,
        policy_source=policy.refs[0] if policy else Ref(""),
        accounts=_accounts(service, facts, settings),
        auto_mtls=settings.auto_mtls and not service.external and not forbidden,
        plaintext_endpoint=_dialled_by_clients(service, subsets) and facts.plaintext,
        aliases=aliases,
        pod_addresses=facts.addresses,
        selected=policy is not None and policy.selector is not None,
        dns_endpoints=facts.by_name,
    )
    return structs.replace(made, digest=wire.digest(made))


def _subsets(
    service: Service, policy: MergedPolicy | None, settings: MeshSettings
) -> tuple[ScopedSubset, ...]:
    default = settings.default_policy
    base = policy.policy if policy else None
    named = policy.subsets if policy else ()
    return (
        ScopedSubset(name="", labels=_NO_LABELS, policies=_by_port(service, base, None, default)),
        *(
            ScopedSubset(
                name=subset.name,
                labels=subset.labels,
                policies=_by_port(service, base, subset.policy, default),
            )
            for subset in named
        ),
    )


def _by_port(  # noqa: PLR0917 - what is laid over each other
    service: Service,
    base: TrafficPolicy | None,
    subset: TrafficPolicy | None,
    default: TrafficPolicy | None,
) -> dict[int, TrafficPolicy]:
    return {
        port.number: over_default(at_port(base, subset, port.number), default)
        for port in service.ports
    }


def _accounts(service: Service, facts: EndpointFacts, settings: MeshSettings) -> tuple[str, ...]:
    domains = (settings.trust_domain, *settings.trust_domain_aliases)
    proved = {
        str(SpiffeId(domain, namespace, account))
        for domain in domains
        for namespace, account in facts.accounts
    }
    declared = {
        everywhere
        for name in service.subject_alt_names
        for everywhere in _in_domains(name, domains)
    }
    return tuple(sorted(proved | declared))


def _in_domains(name: str, domains: Sequence[str]) -> Iterator[str]:
    """Yield a name that a server may prove; an identity of the mesh, in all its trust domains."""
    yield name
    try:
        identity = parse_spiffe_id(name)
    except ValueError:  # the name of a host, or somebody else's identity
        return
    if identity.trust_domain in domains:
        yield from (str(structs.replace(identity, trust_domain=one)) for one in domains)


def _dialled_by_clients(service: Service, subsets: Iterable[ScopedSubset]) -> bool:
    if service.resolution is Resolution.ORIGINAL:
        return True
    return any(passes_through(policy) for subset in subsets for policy in subset.policies.values())
