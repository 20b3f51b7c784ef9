"""What a status says of problems and of what proxies have answered."""

from collections.abc import Mapping

import pytest

from libs.api import reasons
from libs.api.problem import Problem, Severity
from libs.model.ids import Ref
from libs.protos.receipts.v1.receipts_pb2 import Standing
from services.discovery.status.conditions import MAX_TOLD, conditions, says_the_same
from services.discovery.status.progress import Progress, Share
from services.discovery.status.subjects import Conditions, Subject

REF = Ref("VirtualService/shop/routes")
NOW = 86_400.0
NOBODY = "it concerns no proxy that is connected; one that connects gets it with everything else"


def subject(*before: dict[str, object], generation: int = 2) -> Subject:
    return Subject(REF, "/status", generation, "7", before, 0.0)


def share(done: int = 0, *, pending: int = 0, refusals: tuple[str, ...] = ()) -> Share:
    return Share(2, done, len(refusals), pending, settled=not pending, refusals=refusals)


def problem(
    reason: str = "InvalidHost", severity: Severity = Severity.ERROR, path: str = "spec.a"
) -> Problem:
    return Problem(REF, path, reason, "is wrong", severity)


def said(
    *problems: Problem, progress: Progress | None = None, of: Subject | None = None
) -> dict[str, tuple[str, str, str]]:
    found = conditions(of or subject(), problems, progress or Progress((share(1),)), now=NOW)
    return {it["type"]: (it["status"], it["reason"], it["message"]) for it in found}


def test_a_good_resource_is_accepted_resolved_and_programmed() -> None:
    assert said() == {
        "Accepted": ("True", "Accepted", ""),
        "ResolvedRefs": ("True", "ResolvedRefs", ""),
        "Programmed": ("True", "Programmed", "1 of 1 proxy acknowledged"),
    }


def test_an_error_is_not_accepted_and_says_where() -> None:
    warning = problem("NoEffect", Severity.WARNING, "spec.b")
    found = said(problem(), warning)
    assert found["Accepted"] == ("False", "InvalidHost", "spec.a: is wrong")
    assert found["ResolvedRefs"][0] == "True"


def test_warnings_are_told_of_what_is_accepted() -> None:
    found = said(problem("NoEffect", Severity.WARNING))
    assert found["Accepted"] == ("True", "Accepted", "1 warning: spec.a: is wrong")


def test_many_problems_end_with_their_number() -> None:
    found = said(*[problem(path=f"spec.{number}") for number in range(MAX_TOLD + 2)])
    assert found["Accepted"][2].endswith("; and 2 more")


@pytest.mark.parametrize("severity", list(Severity))
def test_what_it_names_and_is_not_there_is_unresolved(severity: Severity) -> None:
    found = said(problem(reasons.HOST_NOT_FOUND, severity))
    assert found["Accepted"][0] == "True"
    assert found["ResolvedRefs"] == ("False", "HostNotFound", "spec.a: is wrong")


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (
            Progress((share(2), share(3))),
            ("True", "Programmed", "5 of 5 proxies acknowledged"),
        ),
        (
            Progress((share(2, pending=1),)),
            ("Unknown", "Pending", "2 of 3 proxies acknowledged"),
        ),
        (Progress((share(2),), waiting=1), ("Unknown", "Pending", "2 of 2 proxies acknowledged")),
        (
            Progress((share(1, pending=1, refusals=("a.shop: no such cluster",)), share(4))),
            ("False", "Rejected", "1 of 7 proxies refuse it: a.shop: no such cluster"),
        ),
        (Progress((share(),)), ("True", "Programmed", NOBODY)),
        (
            Progress((), (Standing(connected=3, synced=2),)),
            ("Unknown", "Pending", "2 of 3 proxies acknowledged"),
        ),
        (
            Progress((share(1),), (Standing(connected=3, synced=3),)),
            ("True", "Programmed", "4 of 4 proxies acknowledged"),
        ),
        (
            Progress(waiting=2),
            ("Unknown", "NotObserved", "no replica of config-push has spoken of it"),
        ),
    ],
)
def test_programmed_adds_up_what_replicas_say(
    progress: Progress, expected: tuple[str, str, str]
) -> None:
    assert said(progress=progress)["Programmed"] == expected


def _condition(kind: str, status: str, generation: int, reason: str = "x") -> dict[str, object]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "",
        "observedGeneration": generation,
        "lastTransitionTime": "1970-01-01T00:00:00Z",
    }


def _of(found: Conditions, kind: str) -> Mapping[str, object]:
    return next(it for it in found if it["type"] == kind)


def test_a_word_of_before_stays_while_nobody_says_another_of_that_generation() -> None:
    before = _condition("Programmed", "True", 2, "Programmed")
    assert _of(conditions(subject(before), (), Progress(), now=NOW), "Programmed") == before
    newer = subject(before, generation=3)
    assert _of(conditions(newer, (), Progress(), now=NOW), "Programmed")["status"] == "Unknown"


def test_the_time_is_that_of_the_last_transition() -> None:
    kept, changed = _condition("Accepted", "True", 1), _condition("ResolvedRefs", "False", 1)
    found = conditions(subject(kept, changed), (), Progress((share(1),)), now=NOW)
    assert _of(found, "Accepted")["lastTransitionTime"] == "1970-01-01T00:00:00Z"
    assert _of(found, "ResolvedRefs")["lastTransitionTime"] == "1970-01-02T00:00:00Z"
    assert {it["observedGeneration"] for it in found} == {2}


def test_conditions_of_others_are_left_alone_and_come_first() -> None:
    other: dict[str, object] = {"type": "Reconciled", "status": "True", "by": "somebody"}
    found = conditions(subject(other), (), Progress((share(1),)), now=NOW)
    assert found[0] is other
    again = conditions(subject(*found), (), Progress((share(1),)), now=NOW + 60)
    assert again == found


def _programmed(before: int, now: int, *, pending: int = 0) -> str:
    """Return the message that stands after proxies have come or gone."""
    was = conditions(subject(), (), Progress((share(before),)), now=NOW)
    then = Progress((share(now, pending=pending),))
    return str(_of(conditions(subject(*was), (), then, now=NOW), "Programmed")["message"])


def test_the_first_proxy_that_a_resource_concerns_is_told() -> None:
    assert _programmed(0, 1) == "1 of 1 proxy acknowledged"
    assert _programmed(1, 0) == NOBODY


def test_more_proxies_are_told_when_they_have_doubled_and_fewer_when_halved() -> None:
    told = {now: _programmed(10, now) for now in (6, 10, 11, 19)}
    assert set(told.values()) == {"10 of 10 proxies acknowledged"}
    assert _programmed(10, 20) == "20 of 20 proxies acknowledged"
    assert _programmed(10, 5) == "5 of 5 proxies acknowledged"


def test_a_fleet_that_grows_proxy_by_proxy_costs_a_few_writes() -> None:
    found, writes = subject(), 0
    for number in range(1001):
        wanted = conditions(found, (), Progress((share(number),)), now=NOW)
        writes += wanted != found.conditions
        found = subject(*wanted)
    assert writes == 11


def test_who_came_later_and_has_yet_to_answer_changes_nothing() -> None:
    assert _programmed(10, 8, pending=3) == "10 of 10 proxies acknowledged"


def test_who_came_later_and_refuses_is_told_at_once() -> None:
    was = conditions(subject(), (), Progress((share(10),)), now=NOW)
    refusing = Progress((share(10, refusals=("a.shop: bad",)),))
    found = _of(conditions(subject(*was), (), refusing, now=NOW), "Programmed")
    assert (found["status"], found["message"]) == (
        "False",
        "1 of 11 proxies refuse it: a.shop: bad",
    )
    mended = conditions(subject(found), (), Progress((share(11),)), now=NOW)
    assert _of(mended, "Programmed")["message"] == "11 of 11 proxies acknowledged"


def test_another_number_of_proxies_is_nothing_that_anybody_waits_for() -> None:
    few = conditions(subject(), (), Progress((share(1),)), now=NOW)
    many = conditions(subject(*few), (), Progress((share(5),)), now=NOW)
    assert few != many
    assert says_the_same(few, many)
    assert not says_the_same(few, conditions(subject(*few), [problem()], Progress(), now=NOW))
