"""Filters of a chain, patched: network filters, and the HTTP filters and routes in one of them."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)

from libs.xds.generate import connection_manager, typed
from libs.xds.generate.filters import grpc_messages
from libs.xds.generate.patches import lists, routes
from libs.xds.generate.patches.ledger import Entry, Ledger

F = TypeVar("F", Filter, hcm.HttpFilter)
Meant = Callable[[Entry], bool]

_ENDS_CHAIN = frozenset(
    {
        connection_manager.NAME,
        "envoy.filters.network.tcp_proxy",
        "envoy.filters.network.redis_proxy",
        "envoy.filters.network.thrift_proxy",
        "envoy.filters.network.dubbo_proxy",
        "envoy.filters.http.router",
    }
)
_OLD_NAMES = {
    "envoy.http_connection_manager": connection_manager.NAME,
    "envoy.tcp_proxy": "envoy.filters.network.tcp_proxy",
    "envoy.router": "envoy.filters.http.router",
    "envoy.cors": "envoy.filters.http.cors",
    "envoy.fault": "envoy.filters.http.fault",
    "envoy.lua": "envoy.filters.http.lua",
    "envoy.ext_authz": "envoy.filters.http.ext_authz",
    "envoy.grpc_web": "envoy.filters.http.grpc_web",
    "envoy.rate_limit": "envoy.filters.http.ratelimit",
}
_CLASSES = {
    "AUTHN": frozenset({"envoy.filters.http.jwt_authn", "istio_authn"}),
    "AUTHZ": frozenset({"envoy.filters.http.jwt_authn", "envoy.filters.http.rbac"}),
}
_BEHIND_STATS = frozenset(
    {
        "envoy.filters.http.grpc_web",
        "istio.grpc_messages",
        "envoy.filters.http.grpc_stats",
        "istio.alpn",
        "envoy.filters.http.fault",
        "envoy.filters.http.cors",
        "istio.stats",
        "envoy.filters.http.stateful_session",
        "envoy.filters.http.router",
    }
)


class ChainPatcher:
    """Patches the filters of chains in one context."""

    def __init__(self, ledger: Ledger, context: str) -> None:
        self._ledger = ledger
        self._context = context
        self._inside = ledger.any("HTTP_FILTER", *routes.TARGETS)
        self._any = self._inside or ledger.any("NETWORK_FILTER")

    def patch(self, chain: FilterChain, meant: Meant) -> None:
        """Apply to `chain` the patches that `meant` tells."""
        if not self._any:
            return
        found: list[Filter] = list(chain.filters)
        for entry in self._ledger.of("NETWORK_FILTER", self._context):
            if meant(entry):
                match = entry.patch.listener
                name = match.filter if match else ""
                found = self._changed(found, entry, _canonical(name), Filter)
        lists.assign(chain.filters, found)
        for item in chain.filters if self._inside else ():
            if item.typed_config.type_url.endswith(".HttpConnectionManager"):
                self._patch_inside(item, meant)

    def _patch_inside(self, item: Filter, meant: Meant) -> None:
        """Patch what stands in an HTTP connection manager."""
        manager = hcm.HttpConnectionManager.FromString(item.typed_config.value)
        found: list[hcm.HttpFilter] = list(manager.http_filters)
        for entry in self._ledger.of("HTTP_FILTER", self._context):
            match = entry.patch.listener
            outer = _canonical(match.filter) if match else ""
            if meant(entry) and outer in {"", item.name}:
                name = _canonical(match.sub_filter) if match else ""
                found = self._changed(found, entry, name, hcm.HttpFilter)
        lists.assign(manager.http_filters, found)
        if manager.HasField("route_config"):
            routes.patch(self._ledger, manager.route_config, self._context)
        item.typed_config.CopyFrom(typed.pack(manager))

    def _changed(  # noqa: PLR0917 - a list, and what is done to it
        self, found: list[F], entry: Entry, name: str, kind: type[F]
    ) -> list[F]:
        changed = _patched(found, entry, name, kind)
        if changed is None:
            return found
        self._ledger.hit(entry)
        return changed


def _patched(  # noqa: PLR0917 - as above
    found: list[F], entry: Entry, name: str, kind: type[F]
) -> list[F] | None:
    """Return the filters after a patch, or None if it is for none of them."""
    operation, new = entry.patch.operation, entry.copy(kind)

    def beside(item: F) -> bool:
        return _canonical(item.name) == name

    if operation == "REMOVE":
        kept = [item for item in found if not beside(item)]
        return kept if len(kept) < len(found) else None
    if new is None:
        return None
    if operation in lists.INSERTIONS:
        end = _end(found, entry.patch.filter_class)
        return lists.insert(found, operation, new, beside=beside if name else None, end=end)
    if operation == lists.REPLACE:
        return lists.replace(found, new, beside)
    return _merged(found, entry, kind, beside if name else _is_for_all)


def _is_for_all(item: Filter | hcm.HttpFilter) -> bool:
    """Tell whether a patch that names no filter means this one: a script of ours it must name."""
    return item.name != grpc_messages.NAME


def _merged(  # noqa: PLR0917 - as above
    found: list[F], entry: Entry, kind: type[F], beside: Callable[[F], bool]
) -> list[F] | None:
    result, hit = [], False
    for item in found:
        if not beside(item) or not _fits(item, entry):
            result.append(item)
            continue
        hit = True
        copied = kind()
        copied.CopyFrom(item)
        entry.lay_over(copied)
        result.append(copied)
    return result if hit else None


def _fits(item: Filter | hcm.HttpFilter, entry: Entry) -> bool:
    """Tell whether what a patch configures is what the filter is configured by."""
    new = entry.value
    if not isinstance(new, Filter | hcm.HttpFilter) or not new.HasField("typed_config"):
        return True
    if not item.HasField("typed_config"):
        entry.fail(f"value.typed_config: {item.name} fetches its own")
        return False
    if item.typed_config.type_url != new.typed_config.type_url:
        entry.fail(f"value.typed_config: {item.name} is a {item.typed_config.type_url}")
        return False
    return True


def _end(found: Sequence[Filter | hcm.HttpFilter], filter_class: str) -> int:
    """Return where a filter is added: at the end of its class, and before what ends the chain."""
    names = [_canonical(item.name) for item in found]
    if filter_class == "STATS":
        return next((at for at, name in enumerate(names) if name in _BEHIND_STATS), len(names))
    if filter_class:
        members = _CLASSES[filter_class]
        behind = [at + 1 for at, name in enumerate(names) if name in members]
        first = 1 if names and names[0] == "istio.metadata_exchange" else 0
        return max(behind, default=first)
    return len(names) - 1 if names and names[-1] in _ENDS_CHAIN else len(names)


def _canonical(name: str) -> str:
    return _OLD_NAMES.get(name, name)
