"""Listeners, patched from the outside in: listener, its filters, its chains, their filters.

The listeners to which interception redirects stand for all ports: there a condition on the port is
one on the chain. A filter that is added goes in front of the one that ends a chain, which Envoy
wants to be the last.
"""

from collections.abc import Iterable, Iterator, Sequence

from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import FilterChain, ListenerFilter
from envoy.config.listener.v3.listener_pb2 import Listener

from libs.model.patches import ListenerMatch
from libs.xds import names
from libs.xds.generate.patches import lists, resources, routes
from libs.xds.generate.patches.filters import ChainPatcher
from libs.xds.generate.patches.ledger import ANY, INBOUND, Entry, Ledger
from libs.xds.types import LISTENER, NamedResource

TARGETS = (
    "LISTENER",
    "LISTENER_FILTER",
    "FILTER_CHAIN",
    "NETWORK_FILTER",
    "HTTP_FILTER",
    *routes.TARGETS,  # those of inbound listeners stand in the listener
)
_MERGES = ("MERGE", "MERGE_AND_REPLACE_LIST", "REMOVE")
_VIRTUAL = frozenset({names.VIRTUAL_INBOUND, names.VIRTUAL_OUTBOUND})
_NOTHING = ListenerMatch()


def apply(ledger: Ledger, made: Iterable[NamedResource]) -> list[NamedResource]:
    """Return the listeners after all patches."""
    if not ledger.any(*TARGETS):
        return list(made)
    found = resources.each(ledger, made, Listener, change=lambda it: _Patcher(ledger, it).patch())
    taken = [one.name for one in found]
    return found + resources.added(ledger, _additions(ledger), type_url=LISTENER, taken=taken)


def _additions(ledger: Ledger) -> Iterator[Entry]:
    """Yield what is added, once: a context left open means outbound, or the gateway."""
    for inbound in (False,) if ledger.gateway else (False, True):
        context = ledger.direction(inbound=inbound)
        for entry in ledger.of("LISTENER", context, *lists.INSERTIONS):
            if context != INBOUND or entry.patch.context != ANY:
                yield entry


class _Patcher:
    """Patches one listener."""

    def __init__(self, ledger: Ledger, listener: Listener) -> None:
        self._ledger = ledger
        self._listener = listener
        inbound = listener.traffic_direction == TrafficDirection.INBOUND
        self._context = ledger.direction(inbound=inbound)

    def patch(self) -> bool:
        """Apply all patches; False if the listener is to go."""
        name = self._listener.name
        for entry in self._meant("LISTENER", *_MERGES):
            if not self._is_socket(entry.patch.listener):
                continue
            self._ledger.hit(entry)
            if entry.patch.operation == "REMOVE":
                return False
            entry.lay_over(self._listener)
        self._listener.name = name
        if self._ledger.any("LISTENER_FILTER"):
            self._patch_filters()
        self._patch_chains()
        return bool(self._listener.filter_chains) or self._listener.HasField("default_filter_chain")

    def _meant(self, target: str, *operations: str) -> Iterator[Entry]:
        for entry in self._ledger.of(target, self._context, *operations):
            if self._is_listener(entry.patch.listener):
                yield entry

    def _is_socket(self, match: ListenerMatch | None) -> bool:
        """Tell whether a listener's own port is meant: one of its chains is not all of it."""
        own = self._listener.address.socket_address.port_value
        return match is None or self._ledger.is_port(match.port, own)

    def _is_listener(self, match: ListenerMatch | None) -> bool:
        if match is None:
            return True
        listener = self._listener
        if match.name and match.name != listener.name:
            return False
        if self._ledger.is_port(match.port, listener.address.socket_address.port_value):
            return True
        chains = listener.filter_chains if listener.name in _VIRTUAL else ()
        return any(_port(chain) == match.port for chain in chains)

    def _patch_filters(self) -> None:
        found = list(self._listener.listener_filters)
        for entry in self._meant("LISTENER_FILTER"):
            changed = _listener_filters(found, entry)
            if changed is not None:
                self._ledger.hit(entry)
                found = changed
        lists.assign(self._listener.listener_filters, found)

    def _patch_chains(self) -> None:
        patcher = ChainPatcher(self._ledger, self._context)
        listener = self._listener
        found = [chain for chain in listener.filter_chains if self._keep(chain, patcher)]
        rest = listener.HasField("default_filter_chain")
        if rest and not self._keep(listener.default_filter_chain, patcher):
            listener.ClearField("default_filter_chain")
        for entry in self._meant("FILTER_CHAIN", *lists.INSERTIONS):
            new = entry.copy(FilterChain)
            if new is not None:
                self._ledger.hit(entry)
                found.append(new)
        lists.assign(listener.filter_chains, found)

    def _keep(self, chain: FilterChain, patcher: ChainPatcher) -> bool:
        def meant(entry: Entry) -> bool:
            match = entry.patch.listener
            return self._is_listener(match) and _is_chain(self._listener, chain, match)

        for entry in self._ledger.of("FILTER_CHAIN", self._context, *_MERGES):
            if not meant(entry) or not _has_filter(chain, entry.patch.listener):
                continue
            self._ledger.hit(entry)
            if entry.patch.operation == "REMOVE":
                return False
            entry.lay_over(chain)
        patcher.patch(chain, meant)
        return True


def _listener_filters(found: Sequence[ListenerFilter], entry: Entry) -> list[ListenerFilter] | None:
    match, operation = entry.patch.listener, entry.patch.operation
    new = entry.copy(ListenerFilter)
    name = match.listener_filter if match else ""

    def beside(item: ListenerFilter) -> bool:
        return item.name == name

    if operation == "REMOVE":
        kept = [item for item in found if not beside(item)]
        return kept if len(kept) < len(found) else None
    if new is None:
        return None
    if operation in lists.INSERTIONS:
        return lists.insert(found, operation, new, beside=beside if name else None)
    if operation == lists.REPLACE:
        return lists.replace(found, new, beside)
    matching = [item for item in found if beside(item)]
    for item in matching:
        entry.lay_over(item)
    return list(found) if matching else None


def _is_chain(listener: Listener, chain: FilterChain, match: ListenerMatch | None) -> bool:
    asked = match or _NOTHING
    own = listener.address.socket_address.port_value
    if listener.name in _VIRTUAL and asked.port not in {0, own, _port(chain)}:
        return False
    match_of = chain.filter_chain_match
    wanted = (
        (asked.chain_name, chain.name),
        (asked.transport_protocol, match_of.transport_protocol),
        (asked.destination_port, _port(chain)),
        (asked.transport_socket, chain.transport_socket.name),
    )
    if any(it and it != is_ for it, is_ in wanted):
        return False
    if asked.sni and asked.sni not in match_of.server_names:
        return False
    return set(asked.application_protocols) <= set(match_of.application_protocols)


def _has_filter(chain: FilterChain, match: ListenerMatch | None) -> bool:
    name = match.filter if match else ""
    return not name or any(item.name == name for item in chain.filters)


def _port(chain: FilterChain) -> int:
    return chain.filter_chain_match.destination_port.value
