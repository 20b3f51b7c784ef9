"""What replicas of config-push say of patches, as problems of the EnvoyFilters."""

import pytest

from libs.api import reasons
from libs.api.problem import Severity
from libs.model.ids import Ref
from libs.protos.findings.v1.findings_pb2 import Conflict, Finding, Patch, PatchList
from services.discovery.findings import lost, problems

REF = Ref("EnvoyFilter/shop/p")


def said(*, index: int = 0, proxies: int = 1, applied: int = 0, **kinds: int) -> PatchList:
    """Return a list of one patch; `MISFIT=2`: two proxies have that finding."""
    found = [
        Finding(kind=Finding.Kind.Value(kind), text="why", proxies=number)
        for kind, number in kinds.items()
    ]
    patch = Patch(ref=REF, index=index, proxies=proxies, applied=applied, findings=found)
    return PatchList(patches=[patch])


def test_who_lost_a_listener_is_told_once_and_by_whom() -> None:
    one = Conflict(
        listener="10.96.0.1_80", kept="Service/shop/a", lost="Service/shop/b", reason="r"
    )
    other = Conflict(listener="10.96.0.1_90", kept="", lost="Service/shop/b", reason="r")
    gone = Conflict(listener="10.96.0.1_80", kept="", lost="Service/shop/gone", reason="r")
    said = [PatchList(conflicts=[other, gone]), PatchList(conflicts=[one])]
    (problem,) = lost(said, {Ref("Service/shop/a"), Ref("Service/shop/b")})
    assert (problem.ref, problem.reason) == ("Service/shop/b", reasons.LISTENER_CONFLICT)
    assert problem.severity is Severity.WARNING
    assert "10.96.0.1_80 stays with Service/shop/a" in problem.text
    assert lost(said, ()) == []


def test_a_patch_that_does_what_it_says_is_no_problem() -> None:
    assert problems([said(applied=1)], {REF}) == []


def test_a_patch_that_matches_nothing_at_any_proxy_of_any_replica_says_so() -> None:
    (problem,) = problems([said(proxies=2), said(proxies=1)], {REF})
    assert problem.path == "spec.configPatches[0]"
    assert (problem.reason, problem.severity) == (reasons.PATCH_WITHOUT_EFFECT, Severity.WARNING)
    assert problem.text.endswith(": 3")


def test_one_proxy_where_it_matches_is_enough() -> None:
    assert problems([said(proxies=200), said(applied=1)], {REF}) == []


def test_nothing_is_said_of_a_patch_for_nobody_who_is_connected() -> None:
    assert problems([said(proxies=0)], {REF}) == []
    assert problems([], {REF}) == []


@pytest.mark.parametrize(
    ("kind", "reason", "severity"),
    [
        ("MISFIT", reasons.PATCH_MISFIT, Severity.WARNING),
        ("REFUSED", reasons.PATCH_REFUSED, Severity.ERROR),
        ("NOT_IN_FORCE", reasons.PATCH_NOT_IN_FORCE, Severity.WARNING),
    ],
)
def test_each_finding_is_one_problem_with_all_its_proxies(
    kind: str, reason: str, severity: Severity
) -> None:
    lists = [said(proxies=3, applied=3, **{kind: 1}), said(proxies=2, applied=2, **{kind: 2})]
    (problem,) = problems(lists, {REF})
    assert (problem.reason, problem.severity) == (reason, severity)
    assert problem.text.endswith("why (proxies: 3 of 5)")


def test_what_is_wrong_with_a_value_is_not_said_again_as_matching_nothing() -> None:
    (problem,) = problems([said(MISFIT=1)], {REF})
    assert problem.reason == reasons.PATCH_MISFIT


def test_a_refusal_of_nobody_knows_which_patch_is_the_resources() -> None:
    (problem,) = problems([said(index=-1, proxies=0, REFUSED=1)], {REF})
    assert problem.path == "spec.configPatches"


def test_a_resource_that_has_gone_has_no_problems() -> None:
    assert problems([said()], set()) == []


def test_a_finding_of_a_kind_that_is_not_known_here_is_passed_over() -> None:
    assert problems([said(applied=1, UNSPECIFIED=1)], {REF}) == []


@pytest.mark.parametrize(
    ("number", "words"),
    [(9, "9"), (10, "10 or more"), (19, "10 or more"), (49, "20 or more"), (999, "500 or more")],
)
def test_large_numbers_are_rough_so_that_statuses_are_not_written_for_each_proxy(
    number: int, words: str
) -> None:
    (problem,) = problems([said(proxies=number)], {REF})
    assert problem.text.endswith(f": {words}")
