"""Generators: from what a proxy may see to what its Envoy should have. Pure, one file a type.

Each takes the scope and nothing else, so the scope is the key under which results can be kept.
"""

from collections.abc import Callable, Mapping
from functools import partial

from msgspec.structs import replace

from libs.proxy.memo import WeakMemo
from libs.proxy.node import ProxyType
from libs.proxy.scope import ProxyScope
from libs.xds.generate import (
    clusters,
    endpoints,
    extensions,
    inbound_clusters,
    listeners,
    names,
    narrow,
    outbound_plan,
    proxyless,
    proxyless_servers,
    routes,
)
from libs.xds.generate.patches.sets import bootstrap_set, patched
from libs.xds.types import (
    BOOTSTRAP,
    CLUSTER,
    ENDPOINT,
    EXTENSION,
    LISTENER,
    NAME_TABLE,
    ROUTE,
    Part,
    ResourceSet,
    Snapshot,
    joined,
    part,
    resource_set,
)

_parts: WeakMemo[Part] = WeakMemo()
_endpoint_sets: WeakMemo[ResourceSet] = WeakMemo()


def cluster_set(scope: ProxyScope) -> ResourceSet:
    """Return all clusters of a proxy."""
    if scope.outbound.type is ProxyType.PROXYLESS:
        return resource_set(CLUSTER, proxyless.cluster_list(scope.outbound))
    outbound = clusters.generate(scope.outbound)
    inbound = inbound_clusters.generate(scope.inbound)
    if scope.inbound.patches:
        return patched(scope, CLUSTER, [*outbound, *inbound])
    shared = _parts.get(narrow.for_clusters(scope.outbound), (CLUSTER,), partial(part, outbound))
    return joined(CLUSTER, (shared, part(inbound)))


def endpoint_set(scope: ProxyScope) -> ResourceSet:
    """Return the endpoints of all clusters that do not hold their own."""
    return _endpoint_sets.get(scope.endpoints, (), partial(_endpoint_set, scope))


def _endpoint_set(scope: ProxyScope) -> ResourceSet:
    return resource_set(ENDPOINT, map(endpoints.generate, scope.endpoints.values()))


def listener_set(scope: ProxyScope) -> ResourceSet:
    """Return all listeners of a proxy."""
    if scope.outbound.type is ProxyType.PROXYLESS:
        calling = partial(part, proxyless.listener_list(scope.outbound))
        shared = _parts.get(scope.outbound, (LISTENER,), calling)
        return joined(LISTENER, (shared, part(proxyless_servers.generate(scope.inbound))))
    found = patched(scope, LISTENER, listeners.generate(scope))
    lost = (
        () if scope.outbound.type is ProxyType.ROUTER else outbound_plan.conflicts(scope.outbound)
    )
    return replace(found, conflicts=lost) if lost else found


def route_set(scope: ProxyScope) -> ResourceSet:
    """Return the routes that the listeners of a proxy fetch by name."""
    if scope.outbound.type is ProxyType.PROXYLESS:
        return resource_set(ROUTE, proxyless.route_list(scope.outbound))
    found = routes.generate(scope.outbound)
    if scope.inbound.patches:
        return patched(scope, ROUTE, found)
    return joined(ROUTE, [_parts.get(scope.outbound, (ROUTE,), partial(part, found))])


def extension_set(scope: ProxyScope) -> ResourceSet:
    """Return the configurations that filters of the listeners fetch by name."""
    if scope.outbound.type is ProxyType.PROXYLESS:
        return resource_set(EXTENSION, ())
    return patched(scope, EXTENSION, extensions.generate(scope.inbound))


def name_set(scope: ProxyScope) -> ResourceSet:
    """Return the names that the agent of a proxy resolves for its application."""
    return resource_set(NAME_TABLE, names.generate(scope.outbound))


GENERATORS: Mapping[str, Callable[[ProxyScope], ResourceSet]] = {
    CLUSTER: cluster_set,
    ENDPOINT: endpoint_set,
    LISTENER: listener_set,
    ROUTE: route_set,
    EXTENSION: extension_set,
    NAME_TABLE: name_set,
    BOOTSTRAP: bootstrap_set,
}


def snapshot(scope: ProxyScope) -> Snapshot:
    """Return everything that a proxy should have."""
    return Snapshot({type_url: generate(scope) for type_url, generate in GENERATORS.items()})
