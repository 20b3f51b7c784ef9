import pytest

from tests.support.rulings import of_destination_rule, of_virtual_service

ROUTE = "hosts: [a]\nhttp: [{route: [{destination: {host: a}}]}]\nexportTo: %s"


@pytest.mark.parametrize(
    ("good", "bad", "path"),
    [
        ("['.']", "['~']", "[0]"),
        ("['*']", "['*', there]", ""),
        ("['.', there]", "['.', here]", "[1]"),
        ("[there]", "[there, there]", "[1]"),
        ("[]", "['']", "[0]"),
        ("[there]", "[th.ere]", "[0]"),
    ],
)
def test_entries(good: str, bad: str, path: str) -> None:
    assert of_virtual_service(ROUTE % good) == []
    assert of_virtual_service(ROUTE % bad) == [f"spec.exportTo{path} InvalidExportTo"]


@pytest.mark.parametrize(
    ("good", "bad"), [("['.']", "['*']"), ("[here]", "[there]"), ("[]", "['.', there]")]
)
def test_a_selector_keeps_a_rule_at_home(good: str, bad: str) -> None:
    rule = "host: a\nworkloadSelector: {matchLabels: {a: b}}\nexportTo: %s"
    assert of_destination_rule(rule % good) == []
    assert of_destination_rule(rule % bad) == ["spec.exportTo InvalidExportTo"]
