"""Statuses: conditions that controllers have written to say that something is not so.

Only manifests that were read back from a cluster have any.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from libs.api import reasons, registry
from libs.api.path import join
from libs.api.problem import Problem, Severity
from libs.inject.analysis.scenery import Scenery
from libs.inject.analysis.subject import Subject

_GOOD_IF_FALSE = frozenset({"Conflicted", "OverlappingTLSConfig", "PartiallyInvalid"})
_PARTS = ("parents", "listeners", "ancestors")
_ISTIO = ".istio.io"
MAX_CONDITIONS = 64
"""Of one list; controllers write a handful."""


def denials(seen: Scenery) -> Iterator[Problem]:
    """Yield conditions with the status False, but for those that are good so."""
    for subject in seen.subjects:
        if _concerns_the_mesh(subject):
            status = subject.raw.get("status")
            yield from _of(subject, status, "status")
            for part in _PARTS:
                every = status.get(part) if isinstance(status, Mapping) else None
                for index, one in enumerate(_list(every)):
                    yield from _of(subject, one, join("status", part, index))


def _concerns_the_mesh(subject: Subject) -> bool:
    group, _ = registry.split(str(subject.raw.get("apiVersion", "")))
    return (
        group.endswith(_ISTIO)
        or group == registry.GATEWAY_API
        or (group, subject.kind) == (registry.CORE, "Service")
    )


def _of(subject: Subject, holder: object, path: str) -> Iterator[Problem]:
    found = holder.get("conditions") if isinstance(holder, Mapping) else None
    for index, one in enumerate(_list(found)):
        if not isinstance(one, Mapping) or one.get("status") != "False":
            continue
        kind, reason, message = (str(one.get(it) or "") for it in ("type", "reason", "message"))
        if kind not in _GOOD_IF_FALSE:
            said = ": ".join(filter(None, (reason[:100], message[:500])))
            text = f"{kind[:100]} is False{f': {said}' if said else ''}"
            place = join(path, "conditions", index)
            yield Problem(subject.ref, place, reasons.NEGATIVE_STATUS, text, Severity.WARNING)


def _list(value: object) -> Sequence[Any]:
    return value[:MAX_CONDITIONS] if isinstance(value, list) else []
