"""Order: where the containers of injection stand among the pod's own.

Init containers run one after another: rules must be laid before anything calls out, and a native
sidecar must run before the user's init containers do, which then use the mesh. Without native
sidecars the rules come last, because the user's init containers would call into a proxy that is not
there yet. Among ordinary containers the proxy is last, or first if the others wait for it, as
proxyless programs always do.
"""

from collections.abc import Mapping
from typing import Any

from libs.inject import overlay, words
from libs.inject.scene import Scene


def ordered(spec: Mapping[str, Any], scene: Scene) -> dict[str, Any]:
    """Return `spec` with its containers in order."""
    found = dict(spec)
    if containers := spec.get("containers"):
        held = scene.proxy.hold_application_until_proxy_starts or overlay.is_proxyless(scene)
        first = bool(held) and not scene.native
        found["containers"] = _moved(containers, {words.PROXY}, first=first)
    if inits := spec.get("initContainers"):
        found["initContainers"] = _inits(inits, native=scene.native)
    return found


def _inits(containers: list[Any], *, native: bool) -> list[Any]:
    moved = _moved(containers, {words.INIT}, first=native)
    if native:
        moved = _after(moved, {words.INIT, words.VALIDATION}, words.PROXY)
    return _moved(moved, {words.VALIDATION}, first=True)


def _moved(containers: list[Any], names: set[str], *, first: bool) -> list[Any]:
    own = [one for one in containers if one.get("name") in names]
    others = [one for one in containers if one.get("name") not in names]
    return [*own, *others] if first else [*others, *own]


def _after(containers: list[Any], before: set[str], name: str) -> list[Any]:
    head = [one for one in containers if one.get("name") in before]
    moved = [one for one in containers if one.get("name") == name]
    rest = [one for one in containers if one.get("name") not in {*before, name}]
    return [*head, *moved, *rest]
