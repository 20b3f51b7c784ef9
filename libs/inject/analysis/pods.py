"""Pods: those that should have a proxy and have none, and those that its rules let pass."""

from collections.abc import Iterator, Mapping
from typing import Any

from libs.api import reasons
from libs.api.problem import Problem, Severity
from libs.inject import words
from libs.inject.analysis.scenery import Scenery
from libs.inject.analysis.subject import Subject, has_proxy

PROXY_USER = 1337
"""Whose traffic is never intercepted: the proxy's own."""


def without_proxy(seen: Scenery) -> Iterator[Problem]:
    """Yield pods that run without a proxy in a namespace that asks for it."""
    for one in seen.subjects:
        if one.kind != "Pod" or not one.exists or one.pod is None or has_proxy(one):
            continue
        if one.namespace in seen.namespaces and seen.injects(one):
            text = "it should have a proxy, and was made before anybody asked for it: make it anew"
            yield Problem(one.ref, "spec", reasons.MISSING_PROXY, text, Severity.WARNING)


def as_proxy_user(seen: Scenery) -> Iterator[Problem]:
    """Yield applications that run as the user whose traffic is not intercepted."""
    for one in seen.subjects:
        paths = dict.fromkeys(_as_proxy_user(one)) if one.namespace != seen.root else {}
        if paths and (has_proxy(one) or seen.injects(one)):
            for path in paths:
                text = f"user {PROXY_USER} is the proxy's: traffic of this pod would not pass it"
                yield Problem(one.ref, path, reasons.PROXY_USER, text, Severity.WARNING)


def _as_proxy_user(one: Subject) -> Iterator[str]:
    """Yield the fields by which containers of applications run as the proxy's user."""
    field, shared = "securityContext.runAsUser", _user(one.spec)
    for path, container in _applications(one):
        own = _user(container)
        if PROXY_USER in {own, shared if own is None else None}:
            yield f"{path}.{field}" if own is not None else one.below(f"spec.{field}")


def _applications(one: Subject) -> list[tuple[str, Mapping[str, Any]]]:
    return [it for it in one.containers() if it[1].get("name") not in words.OWN_CONTAINERS]


def _user(holder: Mapping[str, Any]) -> int | None:
    context = holder.get("securityContext")
    user = context.get("runAsUser") if isinstance(context, Mapping) else None
    return user if isinstance(user, int) else None
