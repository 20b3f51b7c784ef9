"""Rows: what was asked for beside what was seen, call by call, and whether the two agree.

The programs tell of each call, the callee's sidecar tells whom it proved and which rule denied it,
and `verdict` says what the manifests ask for. Calls with the same caller, port and verdict make one
row. After a change of configuration the ledger starts anew, so that a row never mixes two wishes.
How a row looks on the screen is not decided here.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from math import sqrt

from msgspec import Struct

from libs.model.ids import Ref
from services.local.accesslog import NO_RULE, Entry
from services.local.trails import Seen
from services.local.verdict import Fate, Verdict

MIN_SAMPLE = 200
"""Calls below which a split says nothing yet."""
_SIGMAS = 4.5  # a right split fails this about once in 150,000 times


class Mark(StrEnum):
    """Whether a row is as asked for."""

    RIGHT = "right"
    WRONG = "wrong"
    WAITING = "waiting"  # for more calls, or for the sidecar's log


class Row(Struct, frozen=True, kw_only=True):
    """Calls of one kind."""

    caller: str
    callee: str
    port: int
    protocol: str
    request: str
    verdict: Verdict
    calls: int
    wrong: int
    proved: str  # the SPIFFE id of the caller; empty if none was proved
    versions: Mapping[str, int]
    evidence: str  # the rule that denied, in the sidecar's words
    example: str  # the latest outcome that was not as asked for
    mark: Mark


class Split(Struct, frozen=True, kw_only=True):
    """One destination of a weighted route."""

    host: str
    version: str
    weight: float  # percent
    share: float  # percent
    calls: int
    mark: Mark


class Key(Struct, frozen=True):
    """What makes calls the same row."""

    caller: str
    callee: str
    port: int
    protocol: str
    request: str
    verdict: Verdict


class _Tally:
    def __init__(self) -> None:
        self.calls = 0
        self.wrong = 0
        self.example = ""
        self.proofs: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()


class Ledger:
    """Counts calls and the sidecars' words about them."""

    def __init__(self) -> None:
        self._rows: dict[Key, _Tally] = {}
        self._served: Counter[tuple[str, int, str]] = Counter()
        self._denied: Counter[tuple[str, str, str]] = Counter()
        self._refused: Counter[str] = Counter()

    def clear(self) -> None:
        """Start anew."""
        self.__init__()  # type: ignore[misc]

    def call(self, key: Key, seen: Seen) -> bool:
        """Count a call; return whether its end is the one that was asked for."""
        tally = self._rows.setdefault(key, _Tally())
        tally.calls += 1
        tally.versions[seen.version] += 1
        if seen.proof:
            tally.proofs[seen.proof] += 1
        right = as_asked(key.verdict, seen)
        if not right:
            tally.wrong += 1
            tally.example = seen.outcome if seen.outcome != "ok" else _strange(key.verdict, seen)
        return right

    def logged(self, callee: str, entry: Entry) -> None:
        """Count what the sidecar of an application logged."""
        if entry.rule:
            self._denied[callee, entry.rule, entry.peer] += 1
        elif entry.refused:
            self._refused[callee] += 1
        else:
            self._served[callee, entry.port, entry.peer] += 1

    def rows(self) -> list[Row]:
        """Return all rows: what is allowed first, in the order in which they were first seen."""
        found = [self._row(key, tally) for key, tally in self._rows.items()]
        return sorted(found, key=lambda row: row.verdict.fate is not Fate.ALLOWED)

    def splits(self, asked: Mapping[str, Mapping[str, float]]) -> list[Split]:
        """Return how the calls of each host were split: `asked` is host → version → percent."""
        found: list[Split] = []
        for host, weights in asked.items():
            counts: Counter[str] = Counter()
            for key, tally in self._rows.items():
                if key.callee == host and key.verdict.fate is Fate.ALLOWED and key.verdict.identity:
                    counts.update({name: n for name, n in tally.versions.items() if name})
            found += _splits_of(host, weights, counts)
        return found

    def _row(self, key: Key, tally: _Tally) -> Row:
        proved, evidence, witnessed = self._witness(key, tally)
        mark = Mark.WAITING if not witnessed else Mark.RIGHT
        if tally.wrong:
            mark = Mark.WRONG
        return Row(
            caller=key.caller,
            callee=key.callee,
            port=key.port,
            protocol=key.protocol,
            request=key.request,
            verdict=key.verdict,
            calls=tally.calls,
            wrong=tally.wrong,
            proved=proved,
            versions=dict(tally.versions),
            evidence=evidence,
            example=tally.example,
            mark=mark,
        )

    def _witness(self, key: Key, tally: _Tally) -> tuple[str, str, bool]:
        """Return who was proved, the sidecar's evidence, and whether nothing is missing."""
        verdict = key.verdict
        if verdict.fate is Fate.DENIED:
            rule = verdict.rule or NO_RULE
            count = self._denied[key.callee, rule, verdict.identity]
            return (verdict.identity if count else ""), (rule if count else ""), count > 0
        if verdict.fate is Fate.REFUSED:
            count = self._refused[key.callee]
            return "", ("no filter chain takes plain text" if count else ""), count > 0
        if not verdict.identity:
            return "", "", True
        told = tally.proofs[verdict.identity]
        logged = self._served[key.callee, key.port, verdict.identity]
        return (verdict.identity if told or logged else ""), "", bool(told or logged)


def as_asked(verdict: Verdict, seen: Seen) -> bool:
    """Tell whether a call ended as the verdict says."""
    reached = bool(seen.instance)
    if verdict.fate is Fate.ALLOWED:
        # What the callee makes of its own calls is on their rows. Raw TCP carries no proof.
        return reached and (seen.protocol == "TCP" or seen.proof == verdict.identity)
    if verdict.fate is Fate.DENIED:
        return not reached and (seen.protocol != "HTTP" or seen.outcome.startswith("403 RBAC"))
    return verdict.fate is Fate.UNKNOWN or not reached


def lost(verdict: Verdict, seen: Seen) -> bool:
    """Tell whether a call that should have arrived did not, for a reason other than a policy."""
    denied = seen.outcome.startswith(("403 RBAC", "PERMISSION_DENIED"))
    return verdict.fate is Fate.ALLOWED and not seen.instance and not denied


def _strange(verdict: Verdict, seen: Seen) -> str:
    if verdict.fate is not Fate.ALLOWED:
        return "was answered"
    return f"proved {seen.proof or 'nobody'}"


def _splits_of(host: str, weights: Mapping[str, float], counts: Counter[str]) -> Iterator[Split]:
    total = counts.total()
    for version, weight in weights.items():
        calls = counts[version]
        yield Split(
            host=host,
            version=version,
            weight=weight,
            share=100 * calls / total if total else 0.0,
            calls=calls,
            mark=_judge_split(weight / 100, calls, total),
        )


def _judge_split(weight: float, count: int, total: int) -> Mark:
    if total < MIN_SAMPLE:
        return Mark.WAITING
    if weight in {0.0, 1.0}:
        return Mark.RIGHT if count == weight * total else Mark.WRONG
    tolerance = max(_SIGMAS * sqrt(weight * (1 - weight) / total), 1 / total)
    return Mark.RIGHT if abs(count / total - weight) <= tolerance else Mark.WRONG


def all_right(rows: Sequence[Row], splits: Sequence[Split]) -> bool:
    """Tell whether there is something to judge and all of it is right."""
    marks = [row.mark for row in rows] + [split.mark for split in splits]
    return bool(marks) and all(mark is Mark.RIGHT for mark in marks)


def policies(rows: Sequence[Row]) -> frozenset[Ref]:
    """Return the policies that decided anything."""
    return frozenset(ref for row in rows for ref in row.verdict.policies)
