"""Judge: whether a resource may be stored, and what its writer should know.

The rules are those of `libs.api.check`, as for manifests in files: an error refuses, with the path
of each; a warning is told. What other resources make of it is foreseen by discovery and only told,
because the order in which people apply resources is theirs. If discovery cannot be asked, that is
told as well: nothing is looked over in silence.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from libs.api import json_documents, registry
from libs.api.check import check_raw
from libs.api.identity import identify
from libs.api.problem import Problem, Severity
from libs.api.resource import Resource
from libs.xds.generate.patches.fits import fits
from services.webhook import metrics
from services.webhook.review import Question, Verdict
from services.webhook.validation.errors import UnforeseenError

Foresee = Callable[[bytes], Awaitable[Sequence[Problem]]]
"""Returns what applying a resource (JSON) would make wrong; raises UnforeseenError."""

JUDGED = frozenset({"CREATE", "UPDATE"})
SHOWN = 20
"""Errors in a refusal; further ones are counted."""
SLOW_BYTES = 16 * 1024
"""Objects from this size on are checked in a thread, so that others are answered meanwhile."""
BAD_REQUEST = 400


class Judge:
    """Judges one question after another; many at once."""

    def __init__(self, foresee: Foresee) -> None:
        self._foresee = foresee

    async def judge(self, question: Question, path: str) -> Verdict:
        """Return whether the object may be stored."""
        del path
        if question.operation not in JUDGED or question.sub_resource:
            return Verdict()
        body = bytes(question.object)
        slow = len(body) >= SLOW_BYTES
        found = await asyncio.to_thread(_checked, body) if slow else _checked(body)
        errors = [problem for problem in found.problems if problem.severity is Severity.ERROR]
        _count(question, errors)
        if errors:
            return _refused(found.subject, errors)
        warnings = list(map(_written, found.problems))
        return Verdict(warnings=_capped([*warnings, *await self._foreseen(found, body)]))

    async def _foreseen(self, found: "_Checked", body: bytes) -> list[str]:
        if found.resource is None:
            return []  # none of the mesh's business
        try:
            foreseen = await self._foresee(body)
        except UnforeseenError as error:
            return [f"references to other resources were not looked at: {error}"]
        told = {(problem.ref, problem.path, problem.reason) for problem in found.problems}
        new = [it for it in foreseen if (it.ref, it.path, it.reason) not in told]
        own = found.resource.ref
        return [_written(it) if it.ref == own else f"{it.ref} {_written(it)}" for it in new]


class _Checked:
    """What an object is, and what is wrong with it by itself."""

    def __init__(
        self, subject: str, resource: Resource | None, problems: Sequence[Problem]
    ) -> None:
        self.subject = subject
        self.resource = resource
        self.problems = problems


def _checked(body: bytes) -> _Checked:
    raw, problems = json_documents.read(body)
    if raw is None:
        return _Checked("the object", None, problems)
    resource, problems = check_raw(raw, fits)
    identity = identify(raw)
    return _Checked(identity.ref or identity.kind or "the object", resource, problems)


def _refused(subject: str, errors: Sequence[Problem]) -> Verdict:
    lines = [f"- {_written(error)}" for error in errors[:SHOWN]]
    if len(errors) > SHOWN:
        lines.append(f"- and {len(errors) - SHOWN} more")
    many = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    text = "\n".join([f"{subject} has {many}:", *lines])
    return Verdict(allowed=False, text=text, code=BAD_REQUEST, reason="BadRequest")


def _written(problem: Problem) -> str:
    where = f"{problem.path}: " if problem.path else ""
    return f"{where}{problem.text} ({problem.reason})"


def _capped(warnings: Sequence[str]) -> tuple[str, ...]:
    if len(warnings) <= SHOWN:
        return tuple(warnings)
    return (*warnings[: SHOWN - 1], f"and {len(warnings) - SHOWN + 1} more")


def _count(question: Question, errors: Sequence[Problem]) -> None:
    """Count the question under its kind, if it is one that we know: others could be anything."""
    kind = registry.find(f"{question.kind.group}/{question.kind.version}", question.kind.kind)
    known = isinstance(kind, registry.Kind)
    labels: Mapping[str, str] = {
        "group": question.kind.group if known else "unknown",
        "version": question.kind.version if known else "unknown",
        "resource": kind.plural if isinstance(kind, registry.Kind) else "unknown",
    }
    if errors:
        metrics.VALIDATION_FAILED.labels(**labels, reason=errors[0].reason).inc()
    else:
        metrics.VALIDATION_PASSED.labels(**labels).inc()
