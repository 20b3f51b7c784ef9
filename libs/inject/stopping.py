"""Stopping: an application gets its signal to end once its callers know that it leaves.

Kubernetes signals the containers of a pod in the same moment in which it begins to tell others that
the pod leaves, so an application that closes its port at once turns away whoever has not heard of
it yet. A container that takes calls therefore sleeps first, as long as its proxy drains: its
`preStop` does that, if the container has none of its own. Native sidecars outlive the application,
so it still has its proxy when it ends.
The time counts against the pod's grace period; of a period that would be mostly slept away nothing
is taken.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

from msgspec import Struct

DRAIN_SECONDS = 5.0
"""How long a proxy drains if nothing else is set; the agent's own default."""
GRACE_SECONDS = 30
"""Kubernetes' default of `terminationGracePeriodSeconds`."""
_TAKES_CALLS = ("ports", "readinessProbe")

Container = dict[str, Any]


class Stopping(Struct, frozen=True):
    """A pod's spec, and the names of its containers that sleep before they are told to end."""

    spec: dict[str, Any]
    containers: tuple[str, ...] = ()


def delayed(spec: Mapping[str, Any], drain_seconds: float, own: Collection[str]) -> Stopping:
    """Return `spec` with containers that take calls sleeping first; those named `own` do not."""
    seconds, grace = math.ceil(drain_seconds), spec.get("terminationGracePeriodSeconds")
    if seconds < 1 or 2 * seconds > (grace if isinstance(grace, int) else GRACE_SECONDS):
        return Stopping(dict(spec))
    names = tuple(
        str(one.get("name"))
        for one in spec.get("containers") or ()
        if one.get("name") not in own and _may_sleep(one)
    )
    hook = {"sleep": {"seconds": seconds}}
    return Stopping(_with(spec, names, hook) if names else dict(spec), names)


def restored(spec: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return `spec` without the hooks that the containers of these names were given."""
    return _with(spec, names, None) if names else dict(spec)


def _may_sleep(container: Container) -> bool:
    hooks = container.get("lifecycle") or {}
    return not hooks.get("preStop") and any(container.get(field) for field in _TAKES_CALLS)


def _with(
    spec: Mapping[str, Any], names: Collection[str], hook: Mapping[str, Any] | None
) -> dict[str, Any]:
    found = [
        _hooked(one, hook) if one.get("name") in names else one
        for one in spec.get("containers") or ()
    ]
    return {**spec, "containers": found}


def _hooked(container: Container, hook: Mapping[str, Any] | None) -> Container:
    hooks = dict(container.get("lifecycle") or {})
    if hook is not None:
        return {**container, "lifecycle": {**hooks, "preStop": hook}}
    if (hooks.get("preStop") or {}).keys() == {"sleep"}:
        del hooks["preStop"]
    kept = {key: value for key, value in container.items() if key != "lifecycle"}
    return {**kept, "lifecycle": hooks} if hooks else kept
