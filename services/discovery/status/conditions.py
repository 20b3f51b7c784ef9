"""Conditions: what a resource's status says, made of its problems and its progress. Pure.

Accepted       True: it is used. False: it is wrong, and its last good state is used, if any.
ResolvedRefs   False: it names something that is not there.
Programmed     True: every proxy that it concerns has acknowledged it. False: a proxy refuses
               it, in Envoy's own words. Unknown: not all have answered yet.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from libs.api import reasons
from libs.api.problem import Problem, Severity
from services.discovery.status.progress import Progress
from services.discovery.status.subjects import Conditions, Subject

ACCEPTED, RESOLVED, PROGRAMMED = "Accepted", "ResolvedRefs", "Programmed"
TYPES = frozenset({ACCEPTED, RESOLVED, PROGRAMMED})
MAX_MESSAGE = 1024
MAX_TOLD = 5

REFERENCES = frozenset(
    {
        reasons.DELEGATE_NOT_FOUND,
        reasons.GATEWAY_NOT_FOUND,
        reasons.HOST_NOT_FOUND,
        reasons.KEYS_UNAVAILABLE,
        reasons.PORT_AMBIGUOUS,
        reasons.PORT_NOT_FOUND,
        reasons.SECRET_NOT_FOUND,
        reasons.SUBSET_NOT_FOUND,
        reasons.UNKNOWN_PROVIDER,
    }
)
"""Reasons of problems that are about what a resource names."""


class Condition(Struct, frozen=True):
    """A condition before it is compared with the one that is there."""

    type: str
    status: str  # True, False or Unknown
    reason: str
    message: str


def conditions(
    subject: Subject, problems: Sequence[Problem], progress: Progress, *, now: float
) -> Conditions:
    """Return the conditions that a subject should have: ours, after those of other writers.

    What is as it was keeps its time. `now` is in wall seconds.
    """
    before = {it.get("type"): it for it in subject.conditions}
    programmed = _programmed(progress)
    wanted = [_accepted(problems), _resolved(problems)]
    if programmed is None and _speaks_of(before.get(PROGRAMMED), subject):
        kept = [before[PROGRAMMED]]  # written when there were receipts
    else:
        kept = []
        wanted.append(programmed or _UNOBSERVED)
    others = [it for it in subject.conditions if it.get("type") not in TYPES]
    ours = [_written(it, before.get(it.type), subject, now=now) for it in wanted]
    return (*others, *ours, *kept)


def _accepted(problems: Sequence[Problem]) -> Condition:
    own = [it for it in problems if it.reason not in REFERENCES]
    errors = [it for it in own if it.severity is Severity.ERROR]
    if errors:
        return Condition(ACCEPTED, "False", errors[0].reason, _told(errors))
    if own:
        many = "1 warning" if len(own) == 1 else f"{len(own)} warnings"
        return Condition(ACCEPTED, "True", ACCEPTED, f"{many}: {_told(own)}")
    return Condition(ACCEPTED, "True", ACCEPTED, "")


def _resolved(problems: Sequence[Problem]) -> Condition:
    missing = [it for it in problems if it.reason in REFERENCES]
    if missing:
        return Condition(RESOLVED, "False", missing[0].reason, _told(missing))
    return Condition(RESOLVED, "True", RESOLVED, "")


_UNOBSERVED = Condition(
    PROGRAMMED, "Unknown", "NotObserved", "no replica of config-push has spoken of it"
)


_NOBODY = "it concerns no proxy that was connected then; others have it from when they connected"


def _programmed(progress: Progress) -> Condition | None:
    """Return the condition; None if nobody has said anything."""
    shares = progress.shares
    refusals = [words for share in shares for words in share.refusals]
    rejected = sum(share.rejected for share in shares)
    done = sum(it.acknowledged for it in shares) + sum(it.synced for it in progress.standing)
    total = done + rejected + sum(it.pending for it in shares)
    total += sum(it.connected - it.synced for it in progress.standing)
    if rejected:
        text = f"{rejected} of {_proxies(total)} refuse it: {'; '.join(refusals)}"
        return Condition(PROGRAMMED, "False", "Rejected", text[:MAX_MESSAGE])
    if not shares and not progress.standing:
        return None
    counted = f"{done} of {_proxies(total)} acknowledged"
    if progress.waiting or done < total or not all(it.settled for it in shares):
        return Condition(PROGRAMMED, "Unknown", "Pending", counted)
    if not total:
        return Condition(PROGRAMMED, "True", PROGRAMMED, _NOBODY)
    return Condition(PROGRAMMED, "True", PROGRAMMED, counted)


def _proxies(number: int) -> str:
    return "1 proxy" if number == 1 else f"{number} proxies"


def _told(problems: Sequence[Problem]) -> str:
    lines = [f"{it.path}: {it.text}" if it.path else it.text for it in problems[:MAX_TOLD]]
    if len(problems) > MAX_TOLD:
        lines.append(f"and {len(problems) - MAX_TOLD} more")
    return "; ".join(lines)[:MAX_MESSAGE]


def _speaks_of(condition: dict[str, Any] | None, subject: Subject) -> bool:
    return condition is not None and condition.get("observedGeneration") == subject.generation


def _written(
    wanted: Condition, before: dict[str, Any] | None, subject: Subject, *, now: float
) -> dict[str, Any]:
    same = before is not None and before.get("status") == wanted.status
    since = (before or {}).get("lastTransitionTime") if same else None
    return {
        "type": wanted.type,
        "status": wanted.status,
        "reason": wanted.reason,
        "message": wanted.message,
        "lastTransitionTime": since or _time(now),
        "observedGeneration": subject.generation,
    }


def _time(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
