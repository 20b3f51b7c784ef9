"""The plan of outbound listeners: which addresses and ports, which chains on each, who conflicts.

Services that only some namespaces see are taken first, then those for everybody, the oldest first
among them. Of two that want the same connections the earlier keeps them: the other one's chain is
left out and reported as a `Conflict`. HTTP services of a port share one listener on the wildcard
address, because requests say whom they are for; everything else has a listener for its own address.
A port that one service speaks HTTP on and another TCP gets both chains, told apart by looking at
the first bytes.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from ipaddress import ip_network
from typing import NamedTuple

from libs.model.ids import Ref
from libs.model.service import Protocol, ServicePort
from libs.proxy import visibility
from libs.proxy.memo import WeakMemo
from libs.proxy.scope import OutboundScope, ScopedService
from libs.xds import names
from libs.xds.generate import egress, narrow, outbound_places
from libs.xds.generate.egress import Egress
from libs.xds.generate.outbound_places import WILDCARD as WILDCARD  # noqa: PLC0414 - exported
from libs.xds.generate.outbound_places import Place
from libs.xds.generate.stream_chains import Chain, Match, Reached, RouteName, StreamChains
from libs.xds.types import Conflict as Conflict  # noqa: PLC0414 - exported

PLAINTEXT_HTTP = ("http/1.1", "h2c")
RAW_BUFFER = "raw_buffer"

_SERVER_FIRST = frozenset({Protocol.MONGO, Protocol.MYSQL})


class Listener(NamedTuple):
    """A listener and its chains, in order of precedence."""

    address: str
    port: int
    bound: bool  # to a real socket
    chains: tuple[Chain, ...]
    sources: tuple[Ref, ...]
    others: tuple[str, ...] = ()  # addresses of a further family


class Plan(NamedTuple):
    """All outbound listeners of a scope, by address and port."""

    listeners: tuple[Listener, ...]
    routes: tuple[RouteName, ...]
    conflicts: tuple[Conflict, ...]
    asked: str = ""  # the routes, as a text that is equal for equal ones


_memo: WeakMemo[Plan] = WeakMemo()


def plan(scope: OutboundScope) -> Plan:
    """Return the plan of `scope`; the same object for the same scope."""
    narrowed = narrow.for_listeners(scope)
    return _memo.get(narrowed, (), partial(_plan, narrowed))


def conflicts(scope: OutboundScope) -> tuple[Conflict, ...]:
    """Return the services of `scope` that lost connections to earlier ones or to the proxy."""
    return plan(scope).conflicts


def _plan(scope: OutboundScope) -> Plan:
    drafts = _Drafts(scope)
    ordered = sorted(scope.services, key=partial(_precedence, scope.settings.service_export_to))
    elsewhere: set[int] = set()
    for listener in egress.listeners(scope):
        drafts.turn_to(listener)
        for scoped in filter(listener.imports, ordered):
            for port in listener.ports(scoped, elsewhere):
                for place in outbound_places.of_service(scope, scoped, port, listener):
                    drafts.add(_Offer(scoped, port, place))
        elsewhere.add(listener.number)
    listeners = [draft.listener() for _, draft in sorted(drafts.drafts.items())]
    listeners += drafts.asked()
    if scope.http_proxy_port:
        listeners.append(_http_proxy(scope))
    asked = {chain.routes for listener in listeners for chain in listener.chains if chain.routes}
    routes = tuple(sorted(asked))
    return Plan(tuple(listeners), routes, tuple(drafts.conflicts), repr(routes))


def _precedence(
    default: Sequence[str], scoped: ScopedService
) -> tuple[bool, tuple[int, str, str, str]]:
    service = scoped.service
    audience = visibility.audience(service.export_to, default, service.namespace)
    return visibility.PUBLIC in audience, visibility.age(service)


def _http_proxy(scope: OutboundScope) -> Listener:
    address = scope.outbound_address or "127.0.0.1"
    chain = Chain(Match(), routes=RouteName(0))
    return Listener(address, scope.http_proxy_port, bound=True, chains=(chain,), sources=())


def _asked(scope: OutboundScope, listener: Egress) -> Listener:
    """Return the listener that a Sidecar wants as an HTTP proxy."""
    place = outbound_places.own(scope, listener)
    routes = RouteName(listener.number, every=True)
    chain = Chain(Match(), routes=routes, sources=(scope.sidecar,))
    return Listener(
        place.address, listener.number, place.bound, chains=(chain,), sources=(scope.sidecar,)
    )


class _Offer(NamedTuple):
    """A service that wants to be reached at a place."""

    scoped: ScopedService
    port: ServicePort
    place: Place

    @property
    def http(self) -> bool:
        return self.port.protocol.is_http

    @property
    def auto(self) -> bool:
        return self.port.protocol is Protocol.AUTO

    @property
    def ref(self) -> Ref:
        return self.scoped.service.ref


class _Draft:
    """A listener in the making."""

    def __init__(self, place: Place, port: int) -> None:
        self.protocol = Protocol.TCP  # of the service that came first
        self.owner = Ref("")
        self.chains: list[Chain] = []
        self.sources: dict[Ref, None] = {}
        self._place = place
        self._port = port

    @property
    def name(self) -> str:
        return names.listener(self._place.address, self._port)

    @property
    def routes_requests(self) -> bool:
        return any(chain.routes for chain in self.chains)

    def add(self, chain: Chain) -> bool:
        """Add a chain unless an earlier one takes the same connections."""
        if any(_same_connections(chain.match, known.match) for known in self.chains):
            return False
        self.chains.append(chain)
        self.sources.update(dict.fromkeys(chain.sources))
        return True

    def listener(self) -> Listener:
        place = self._place
        return Listener(
            place.address,
            self._port,
            place.bound,
            tuple(self.chains),
            tuple(self.sources),
            place.others,
        )


class _Drafts:
    """All listeners in the making."""

    def __init__(self, scope: OutboundScope) -> None:
        self.drafts: dict[tuple[str, int], _Draft] = {}
        self.conflicts: list[Conflict] = []
        self._taken = (scope.settings.own_ports | {scope.http_proxy_port}) - {0}
        self._scope = scope
        self._socket = ""
        self._chains = StreamChains(scope)

    def turn_to(self, listener: Egress) -> None:
        """Take offers of one listener after the other."""
        self._socket = listener.socket
        if self._scope.egress:
            name = RouteName(listener.number, socket=listener.socket)
            self._chains = StreamChains(self._scope, egress.behind(self._scope, name).routings)

    def add(self, offer: _Offer) -> None:
        """Put a service on the listener of its place, as far as earlier ones leave room."""
        key = (offer.place.address, 0 if self._socket else offer.port.number)
        if self._is_taken(offer.place, key[1]):
            self.refuse(names.listener(*key), offer.ref)
            return
        draft = self.drafts.get(key)
        if draft is None:
            draft = _Draft(offer.place, key[1])
            draft.protocol, draft.owner = offer.port.protocol, offer.ref
            self.drafts[key] = draft
        elif _well_known(offer.port.protocol, draft.protocol):
            self._report(draft, offer, "server-first protocol")
            return
        self._add_http(draft, offer)
        self._add_streams(draft, offer)

    def refuse(self, listener: str, wanted_by: Ref) -> None:
        """Report what cannot be, because the proxy itself listens there."""
        self.conflicts.append(Conflict(listener, Ref(""), wanted_by, "a port of the proxy"))

    def asked(self) -> Iterator[Listener]:
        """Yield the listeners that a Sidecar wants as HTTP proxies."""
        for listener in egress.listeners(self._scope):
            if not listener.http_proxy:
                continue
            made = _asked(self._scope, listener)
            if made.port == self._scope.http_proxy_port:  # there everything can be asked for
                self.refuse(names.listener(made.address, made.port), self._scope.sidecar)
            else:
                yield made

    def _is_taken(self, place: Place, port: int) -> bool:
        """Tell whether the proxy itself listens there, as it does on the wildcard address."""
        return port in self._taken and (place.bound or place.wildcard)

    def _add_http(self, draft: _Draft, offer: _Offer) -> None:
        if not (offer.http or offer.auto):
            return
        if draft.routes_requests:  # requests say whom they are for: nobody loses any
            draft.sources[offer.ref] = None
            return
        if not draft.add(self._http_chain(offer)):
            self._report(draft, offer, "HTTP over TCP")

    def _http_chain(self, offer: _Offer) -> Chain:
        # A proxy that nothing redirects to knows nothing of passing other bytes on.
        place = offer.place
        shared = place.bound or place.wildcard or place.chosen
        sniffs = offer.auto or not place.bound
        alone = "" if shared else offer.scoped.service.host
        routes = RouteName(offer.port.number, alone)
        if self._socket:
            routes = RouteName(0, every=True, socket=self._socket)
        return Chain(
            Match(protocols=PLAINTEXT_HTTP, transport=RAW_BUFFER) if sniffs else Match(),
            routes=routes,
            protocol=offer.port.protocol,
            sources=(offer.ref,),
        )

    def _add_streams(self, draft: _Draft, offer: _Offer) -> None:
        if offer.http:
            return
        place = offer.place
        # Services of a cluster have an address of their own to be asked at; what people declare
        # shares the proxy's with others, and only a name can tell them apart.
        declared = place.bound and offer.scoped.service.registry != "Kubernetes"
        by_name = place.wildcard or place.chosen or declared
        reached = Reached(offer.scoped, offer.port, by_name, place.subnets)
        for chain in self._chains.of_service(reached):
            if not draft.add(chain):
                self._report(draft, offer, "TCP over TCP")

    def _report(self, draft: _Draft, offer: _Offer, reason: str) -> None:
        if offer.ref != draft.owner:
            self.conflicts.append(Conflict(draft.name, draft.owner, offer.ref, reason))


def _well_known(incoming: Protocol, existing: Protocol) -> bool:
    """Tell whether looking at the first bytes would break a server that speaks first."""
    return incoming is not existing and bool({incoming, existing} & _SERVER_FIRST)


def _same_connections(left: Match, right: Match) -> bool:
    return (
        left.transport == right.transport
        and left.protocols == right.protocols
        and set(left.sni) - {"*"} == set(right.sni) - {"*"}
        and _networks(left.subnets) == _networks(right.subnets)
    )


def _networks(subnets: Sequence[str]) -> frozenset[str]:
    found = set()
    for subnet in subnets:
        try:
            network = ip_network(subnet, strict=False)
        except ValueError:
            continue
        if not network.network_address.is_unspecified:
            found.add(str(network))
    return frozenset(found)
