"""OpenShift: users and groups of the range that a namespace has, for its proxies.

OpenShift gives each namespace a range of users, writes it into annotations of the namespace, and
lets pods run as no other. Applications run as the first of the range; proxies run as the last, as
with Istio, so that interception tells them apart.
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from libs.inject import words

USERS = "openshift.io/sa.scc.uid-range"
GROUPS = "openshift.io/sa.scc.supplemental-groups"
ANNOTATIONS = (USERS, GROUPS)
DEFAULT = 1337
MAX_ID = 2**31 - 1
"""Kubernetes takes no higher one."""

_BLOCK = re.compile(r"([0-9]{1,10})([/-])([0-9]{1,10})")
_CONTAINERS = ("initContainers", "containers")


class Identity(Struct, frozen=True):
    """As whom a proxy runs."""

    user: int = DEFAULT
    group: int = DEFAULT


def identity(annotations: Mapping[str, str]) -> Identity:
    """Return the identity that the annotations of a namespace leave to proxies.

    What they do not say, or not so that it can be read, is 1337; `unreadable` says which.
    """
    groups = annotations.get(GROUPS, annotations.get(USERS, ""))
    return Identity(
        _last(annotations.get(USERS, "")) or DEFAULT, _last(groups.split(",")[0]) or DEFAULT
    )


def unreadable(annotations: Mapping[str, str]) -> list[str]:
    """Return which annotations are there but hold no range."""
    written = {name: annotations[name].split(",")[0] for name in ANNOTATIONS if name in annotations}
    return [name for name, text in written.items() if _last(text) is None]


def without_shared_user(pod: dict[str, Any]) -> dict[str, Any]:
    """Return a pod whose own `istio-proxy` is not told to run as its applications do.

    OpenShift gives every container of a pod the same user before a webhook is asked, also one that
    is only there to change the proxy's. Its traffic would never be told from the applications'.
    """
    spec = pod.get("spec") or {}
    every = [one for field in _CONTAINERS for one in spec.get(field) or ()]
    users = {_user(one) for one in every if one.get("name") != words.PROXY} - {None}
    if not any(one.get("name") == words.PROXY and _user(one) in users for one in every):
        return pod
    changed = {
        field: [_freed(one) if one.get("name") == words.PROXY else one for one in spec[field]]
        for field in _CONTAINERS
        if spec.get(field)
    }
    return {**pod, "spec": {**spec, **changed}}


def _freed(container: Mapping[str, Any]) -> dict[str, Any]:
    context = container.get("securityContext") or {}
    kept = {key: one for key, one in context.items() if key not in {"runAsUser", "runAsGroup"}}
    return {**container, "securityContext": kept}


def _user(container: Mapping[str, Any]) -> object:
    return (container.get("securityContext") or {}).get("runAsUser")


def _last(text: str) -> int | None:
    """Return the last of `<first>/<size>` or `<first>-<last>`."""
    found = _BLOCK.fullmatch(text.strip())
    if found is None:
        return None
    first, number = int(found[1]), int(found[3])
    last = first + number - 1 if found[2] == "/" else number
    return last if max(first, 1) <= last <= MAX_ID else None
