"""Sets of resources after all patches: the only entry of this room."""

from collections.abc import Callable, Iterable, Mapping

from libs.proxy.scope import ProxyScope
from libs.xds.generate import own_cluster
from libs.xds.generate.patches import bootstrap, clusters, extension_configs, listeners, routes
from libs.xds.generate.patches.ledger import Ledger
from libs.xds.types import (
    BOOTSTRAP,
    CLUSTER,
    EXTENSION,
    LISTENER,
    ROUTE,
    NamedResource,
    ResourceSet,
    resource_set,
)

_Apply = Callable[[Ledger, Iterable[NamedResource]], list[NamedResource]]

_BY_TYPE: Mapping[str, _Apply] = {
    CLUSTER: clusters.apply,
    LISTENER: listeners.apply,
    ROUTE: routes.apply,
    EXTENSION: extension_configs.apply,
}


def patched(scope: ProxyScope, type_url: str, resources: Iterable[NamedResource]) -> ResourceSet:
    """Return the set of what the generators made, after the patches for the proxy."""
    sets = scope.inbound.patches
    apply = _BY_TYPE.get(type_url)
    if not sets or apply is None:
        return resource_set(type_url, resources)
    ledger = Ledger(sets, scope.outbound)
    return resource_set(type_url, apply(ledger, resources), outcomes=ledger.outcomes(type_url))


def bootstrap_set(scope: ProxyScope) -> ResourceSet:
    """Return what is laid over the bootstrap of a proxy; empty for nearly all."""
    sets = scope.inbound.patches
    made = own_cluster.bootstrap(scope.inbound)
    if not sets and made is None:
        return resource_set(BOOTSTRAP, ())
    ledger = Ledger(sets, scope.outbound)
    return resource_set(
        BOOTSTRAP, bootstrap.apply(ledger, made), outcomes=ledger.outcomes(BOOTSTRAP)
    )
