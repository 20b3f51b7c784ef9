"""Conditions: what a resource's status says, made of its problems and its progress. Pure.

Accepted       True: it is used. False: it is wrong, and its last good state is used, if any.
ResolvedRefs   False: it names something that is not there.
Programmed     True: every proxy that it concerns has acknowledged it. False: a proxy refuses
               it, in Envoy's own words. Unknown: not all have answered yet.

Proxies come and go, and not each of them may cost a write of every resource that concerns it. So
what is Programmed stays so while a proxy that came later has yet to answer, and the number of
proxies is written anew only when it has doubled or halved, or when something else is.
"""

import re
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
    kept = [it for it in [before.get(PROGRAMMED)] if it and _stays(it, subject, programmed)]
    if not kept:
        wanted.append(programmed or _UNOBSERVED)
    others = [it for it in subject.conditions if it.get("type") not in TYPES]
    ours = [_written(it, before.get(it.type), subject, now=now) for it in wanted]
    return (*others, *ours, *kept)


def says_the_same(before: Conditions, after: Conditions) -> bool:
    """Tell whether nothing differs but numbers of proxies that have acknowledged."""
    return [_uncounted(it) for it in before] == [_uncounted(it) for it in after]


def said(wanted: Conditions) -> int:
    """Return a digest of what we say, of whatever time and number of proxies."""
    ours = (_uncounted(it) for it in wanted if it.get("type") in TYPES)
    return hash(tuple(tuple(str(it.get(name)) for name in _SAID) for it in ours))


_SAID = ("type", "status", "reason", "message", "observedGeneration")


def _uncounted(condition: dict[str, Any]) -> dict[str, Any]:
    done = condition.get("type") == PROGRAMMED and condition.get("status") == "True"
    return {**condition, "message": ""} if done else condition


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


_NOBODY = "it concerns no proxy that is connected; one that connects gets it with everything else"
_COUNTED = re.compile(r"\d+ of (\d+) prox(?:y|ies) acknowledged")


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


def _stays(before: dict[str, Any], subject: Subject, wanted: Condition | None) -> bool:
    """Tell whether what is written of a generation says well enough what is `wanted`."""
    if before.get("observedGeneration") != subject.generation:
        return False
    if wanted is None:
        return True  # written when there were receipts
    if before.get("status") != "True" or wanted.status == "False":
        return False
    if wanted.status == "Unknown":
        return True
    old, new = _counted(str(before.get("message"))), _counted(wanted.message)
    return old < 2 * new and new < 2 * old


def _counted(message: str) -> int:
    found = _COUNTED.fullmatch(message)
    return int(found[1]) if found else 0


def _proxies(number: int) -> str:
    return "1 proxy" if number == 1 else f"{number} proxies"


def _told(problems: Sequence[Problem]) -> str:
    lines = [f"{it.path}: {it.text}" if it.path else it.text for it in problems[:MAX_TOLD]]
    if len(problems) > MAX_TOLD:
        lines.append(f"and {len(problems) - MAX_TOLD} more")
    return "; ".join(lines)[:MAX_MESSAGE]


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
