"""Merge: pieces of pods laid over a pod, as Kubernetes' strategic merge patch does it.

Mappings are merged key by key, and null takes a key away. Lists whose entries have a name of some
sort are merged entry by entry, new entries come last; all other lists are replaced.
"""

from collections.abc import Mapping
from typing import Any

_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "env": ("name",),
    "ports": ("containerPort", "protocol"),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "hostAliases": ("ip",),
    "sysctls": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "resourceClaims": ("name",),
    "claims": ("name",),
}
_DEFAULTS = {"protocol": "TCP"}


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `above` laid over `below`. Neither is changed; what is not touched is shared."""
    found = dict(below)
    for key, value in above.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = _over(key, found.get(key), value)
    return found


def _over(key: str, below: object, above: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(above, Mapping):
        return merged(below if isinstance(below, Mapping) else {}, above)
    if isinstance(above, list) and isinstance(below, list) and key in _KEYS:
        return _lists(below, above, _KEYS[key])
    if isinstance(above, list) and key == "finalizers":
        return [*dict.fromkeys([*(below if isinstance(below, list) else ()), *above])]
    return above


def _lists(below: list[Any], above: list[Any], keys: tuple[str, ...]) -> list[Any]:
    found = list(below)
    places = {_identity(entry, keys): at for at, entry in enumerate(found)}
    for entry in above:
        identity = _identity(entry, keys)
        at = places.get(identity)
        if at is None or identity is None:
            places[identity] = len(found)
            found.append(entry)
        elif isinstance(entry, Mapping):
            found[at] = _entry(found[at], entry)
    return found


def _entry(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A variable has a value or a source of it, so one replaces the other."""
    either = {"value", "valueFrom"}
    if either & above.keys():
        below = {key: value for key, value in below.items() if key not in either}
    return merged(below, above)


def _identity(entry: object, keys: tuple[str, ...]) -> tuple[object, ...] | None:
    if not isinstance(entry, Mapping):
        return None
    return tuple(str(entry.get(key, _DEFAULTS.get(key))) for key in keys)
