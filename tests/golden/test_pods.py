import pytest

from tests.golden.pod_cases import ROOT, PodCase, every

CASES = every()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_workloads_give_the_pods_that_were_reviewed(case: PodCase) -> None:
    assert case.expected.exists(), "no out.yaml yet: `make golden` writes it"
    expected = case.expected.read_text()
    assert case.output() == expected, "if this is meant: `make golden`, and read the difference"


def test_every_expected_pod_has_its_manifests() -> None:
    orphans = [
        found for found in ROOT.glob("*/out.yaml") if not (found.parent / "in.yaml").exists()
    ]
    assert not orphans
