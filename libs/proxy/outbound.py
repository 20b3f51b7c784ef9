"""The outbound part of a scope: what a proxy may call, and everything that decides how.

`outbound_scope` looks through an `Outlook`, which all clients share, with the eyes of one client.
Endpoints are not decided here but in `libs.proxy.endpoints`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from msgspec import structs

from libs.model import wire
from libs.model.ids import Ref, SpiffeId, parse_spiffe_id
from libs.model.proxy_settings import ProxySettings
from libs.model.service import Protocol, Resolution, Service
from libs.model.settings import MeshSettings
from libs.model.sidecar import Sidecar
from libs.model.traffic import Routing, TrafficPolicy
from libs.proxy.endpoints import passes_through
from libs.proxy.facing import facing
from libs.proxy.facts import NO_ENDPOINTS, EndpointFacts
from libs.proxy.gateways import merge
from libs.proxy.node import Interception, Proxy, ProxyType
from libs.proxy.outlook import Listing, Outlook, listing
from libs.proxy.policies import ANYBODY, MergedPolicy, at_port, over_default
from libs.proxy.routings import SIDECARS, prune
from libs.proxy.scope import (
    EgressView,
    GatewayListener,
    OutboundScope,
    ScopedService,
    ScopedSubset,
)
from libs.proxy.sidecars import ListenerView, Narrowed, narrow

_NO_LABELS: dict[str, str] = {}


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
    external_secrets: bool = False
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
        http_proxy_port=proxy.http_proxy_port or outlook.settings.http_proxy_port,
        outbound_address=proxy.outbound_address if explicit else "",
        unprivileged=(explicit or router or _binds(sidecar)) and proxy.unprivileged,
        labels=tuple(sorted((k, v) for k, v in proxy.labels.items() if k in chosen_by)),
        published=published if router else (),
        sidecar=sidecar.ref if sidecar else "",
        facing=str(facing(proxy)),
        external_secrets=proxy.external_secrets,
        settings=proxy.settings,
    )


def outbound_scope(
    outlook: Outlook, proxy: Proxy, published: tuple[tuple[int, int], ...] = ()
) -> OutboundScope:
    """Return what `proxy` may call. Its own addresses are left for `libs.proxy.scoper` to add."""
    client = client_of(outlook, proxy, published)
    gateways = _gateways(outlook, client)
    routings = _routings(outlook, client, gateways)
    found = outlook.listing(proxy.namespace, facing(proxy))
    views: tuple[ListenerView, ...] = ()
    sidecar = outlook.sidecar(proxy)
    divided = False
    if sidecar is not None and sidecar.egress:
        found, narrowed = _narrowed(outlook, proxy, sidecar, routings=routings)
        routings, views = outlook.one(narrowed.routings), narrowed.views
        divided = _divides(views, narrowed.services)
    return OutboundScope(
        type=proxy.type,
        namespace=proxy.namespace,
        dns_domain=proxy.dns_domain,
        settings=outlook.settings_of(client.settings),
        interception=proxy.interception,
        services=_scoped(outlook, found, client),
        routings=routings,
        http_proxy_port=client.http_proxy_port,
        outbound_address=client.outbound_address,
        unprivileged=client.unprivileged,
        gateways=gateways,
        families=proxy.families,
        dns_capture=proxy.dns_capture,
        external_secrets=proxy.external_secrets,
        egress=tuple(map(_egress, views)) if divided else (),
        allow_any=_allows_any(sidecar, outlook.settings),
        dynamic_dns=_resolves_any(sidecar, outlook.settings),
        egress_proxy=sidecar.egress_proxy if sidecar else None,
        sidecar=sidecar.ref if sidecar else Ref(""),
    )


def _narrowed(
    outlook: Outlook, proxy: Proxy, sidecar: Sidecar, *, routings: tuple[Routing, ...]
) -> tuple[Listing, Narrowed]:
    """Return what a Sidecar leaves of what its proxies see."""
    namespace, client = proxy.namespace, facing(proxy)
    made = outlook.narrowed.get(
        (sidecar, namespace, outlook.services, routings),
        lambda: narrow(sidecar, namespace, outlook.services, routings),
    )
    ports = made.ports
    found = listing(
        made.services, lambda one: outlook.usable(one, client, ports.get(one.host, frozenset()))
    )
    return found, made


def _allows_any(sidecar: Sidecar | None, settings: MeshSettings) -> bool:
    if sidecar is None or sidecar.allow_any is None:
        return settings.allow_any_outbound
    return sidecar.allow_any


def _resolves_any(sidecar: Sidecar | None, settings: MeshSettings) -> bool:
    return settings.dynamic_dns and (sidecar is None or sidecar.allow_any is None)


def _divides(views: Iterable[ListenerView], seen: Mapping[str, Service]) -> bool:
    """Tell whether listeners are elsewhere, or let through other things than all of the scope."""
    return any(
        view.listener.port or view.listener.bound or view.services.keys() != seen.keys()
        for view in views
    )


def _binds(sidecar: Sidecar | None) -> bool:
    """Tell whether a Sidecar wants real sockets."""
    return sidecar is not None and any(listener.bound for listener in sidecar.egress)


def _egress(view: ListenerView) -> EgressView:
    return EgressView(
        listener=structs.replace(view.listener, hosts=()),
        services=tuple(view.services),
        routings=tuple(routing.ref for routing in view.routings),
    )


def dials_itself(scoped: ScopedService) -> bool:
    """Tell whether clients need a listener for each address of a service's endpoints.

    They do for headless services on ports where no host name comes along.
    """
    return bool(scoped.pod_addresses) and any(
        not port.protocol.is_http and port.protocol is not Protocol.UDP
        for port in scoped.service.ports
    )


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
        if served is SIDECARS and outlook.routings.concerns_all(routing):
            return routing
        return outlook.pruned.get(
            (routing, namespace, context),
            lambda: prune(routing, namespace, by_key, gateways=served),
        )

    return outlook.one(map(pruned, visible))


def _scoped(outlook: Outlook, found: Listing, client: Client) -> tuple[ScopedService, ...]:
    """Return the services of a listing as `client` sees them: mostly as everybody does."""
    everybody = outlook.alike(found, partial(_found, outlook))
    special = outlook.policies.special(client.namespace)
    if not special.names and not special.wildcards:
        return everybody
    own = partial(_found, outlook, client=client.namespace, labels=dict(client.labels))
    return outlook.one(
        own(service, found.aliases.get(service.host, ())) if special.covers(service.host) else one
        for service, one in zip(found.services, everybody, strict=True)
    )


def _found(  # noqa: PLR0917 - the inputs of one memo entry
    outlook: Outlook,
    service: Service,
    aliases: tuple[str, ...],
    client: str = ANYBODY,
    labels: Mapping[str, str] = _NO_LABELS,
) -> ScopedService:
    policy = outlook.policies.find(
        client=client, labels=labels, host=service.host, owner=service.namespace
    )
    facts = outlook.facts.get(service.key, NO_ENDPOINTS)
    forbidden = outlook.forbidding(service.namespace)
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
        pod_names=facts.names,
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
