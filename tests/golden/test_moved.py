import pytest

from tests.golden import moved
from tests.golden.cases import ROOT, Case
from tests.golden.proofs import proofs
from tests.tools import support

pytestmark = pytest.mark.timeout(600)  # the first to ask for proofs has all of them looked for


def test_what_comes_of_policies_elsewhere_is_what_was_reviewed() -> None:
    expected = moved.FILE.read_text()
    assert moved.text() == expected, "if this is meant: `make golden`, and read the difference"


def test_what_no_reviewed_output_shows_is_shown_by_a_test_that_says_so() -> None:
    unseen = [field for field, proof in proofs().items() if not (proof.shown or proof.moved)]
    assert not [field for field in unseen if not support.named(*field)]


# proves: DestinationRule spec.trafficPolicy.retryBudget.budgetInterval
# proves: DestinationRule spec.subsets[].trafficPolicy.retryBudget.budgetInterval
def test_the_interval_of_a_retry_budget_stands_in_bytes_that_no_json_shows() -> None:
    """Beside the share that may be retried, 25 %, and the four that always may."""
    case = Case(ROOT / "retry-budget-interval")
    (web,) = (
        one.body
        for _, whole in case.rendered()
        for types in whole.snapshot.sets.values()
        for name, one in types.resources.items()
        if name == "outbound|80||web.shop.svc.cluster.local" and b"\x12\x02\x08\x04" in one.body
    )
    assert b"\x12\x02\x08\x04\x1a\x02\x08\x0a" in web
