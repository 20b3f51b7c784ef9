"""Additions: the patches and extensions that are for one proxy, in the order in which they act.

Those of the root namespace are for workloads of all namespaces, others for their own. What could
never act on this proxy is left out, so that proxies for which the rest is equal are one class.
"""

from collections.abc import Iterable
from functools import lru_cache

import re2
from msgspec import structs

from libs.model.extensions import Extension
from libs.model.patches import Patch, PatchSet
from libs.model.settings import MeshSettings
from libs.model.workload import Workload
from libs.proxy.attachments import attaches
from libs.proxy.node import Proxy, ProxyType
from libs.proxy.peers import selects

MAX_EXPRESSION = 1024  # bytes: what validation lets in, and nobody has to have validated

_CONTEXTS = {
    ProxyType.SIDECAR: frozenset({"ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND"}),
    ProxyType.ROUTER: frozenset({"ANY", "GATEWAY"}),
}
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


def patches(
    sets: Iterable[PatchSet], proxy: Proxy, *, workload: Workload, settings: MeshSettings
) -> tuple[PatchSet, ...]:
    """Return the sets for `proxy` with the patches for it: least priority first, then the root."""
    chosen = sorted(
        (one for one in sets if _selected(one, workload, settings)),
        key=lambda one: (
            one.priority,
            one.namespace != settings.root_namespace,
            one.created,
            one.name,
            one.ref,
        ),
    )
    kept = (
        structs.replace(one, patches=_of(one, proxy), selector={}, targets=()) for one in chosen
    )
    return tuple(one for one in kept if one.patches)


def extensions(
    rows: Iterable[Extension], workload: Workload, settings: MeshSettings
) -> tuple[Extension, ...]:
    """Return the extensions for a workload: greatest priority first, then the oldest."""
    chosen = (one for one in rows if _selected(one, workload, settings))
    ordered = sorted(chosen, key=lambda it: (-it.priority, it.created, it.name, it.namespace))
    return tuple(structs.replace(one, selector={}, targets=()) for one in ordered)


def _selected(one: PatchSet | Extension, workload: Workload, settings: MeshSettings) -> bool:
    if one.targets:
        return attaches(one, workload, settings)
    return selects(one.selector, workload.labels)


def _of(one: PatchSet, proxy: Proxy) -> tuple[Patch, ...]:
    contexts = _CONTEXTS.get(proxy.type, frozenset())
    return tuple(
        structs.replace(patch, proxy_version="", proxy_metadata={})
        for patch in one.patches
        if patch.context in contexts and _is_for(patch, proxy)
    )


def _is_for(patch: Patch, proxy: Proxy) -> bool:
    if not patch.proxy_metadata.items() <= proxy.metadata.items():
        return False
    return not patch.proxy_version or _matches(patch.proxy_version, proxy.version)


@lru_cache(maxsize=4096)
def _matches(expression: str, version: str) -> bool:
    """Tell whether `expression` is found in `version`; never if it is no expression."""
    if len(expression.encode()) > MAX_EXPRESSION:
        return False
    try:
        return bool(re2.search(expression, version, _OPTIONS))
    except re2.error:
        return False
