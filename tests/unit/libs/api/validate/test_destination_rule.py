import pytest

from tests.support.rulings import of_destination_rule


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("host: a", "host: ''", "spec.host InvalidHost"),
        ("host: '*.b'", "host: 'a.*'", "spec.host InvalidHost"),
        ("host: '*'", "host: a_b", "spec.host InvalidHost"),
        ("host: a", "subsets: []", "spec.host MissingField"),
        (
            "host: a\nsubsets: [{name: v1}, {name: v2}]",
            "host: a\nsubsets: [{name: v1}, {name: v1}]",
            "spec.subsets[1].name DuplicateSubset",
        ),
        (
            "host: a\nsubsets: [{name: v1}]",
            "host: a\nsubsets: [{name: v.1}]",
            "spec.subsets[0].name ",
        ),
        (
            "host: a\nsubsets: [{name: v1}]",
            "host: a\nsubsets: [{name: ''}]",
            "spec.subsets[0].name ",
        ),
        (
            "host: a\nsubsets: [{name: v1, trafficPolicy: {tls: {mode: DISABLE}}}]",
            "host: a\nsubsets: [{name: v1, trafficPolicy: {}}]",
            "spec.subsets[0].trafficPolicy MissingField",
        ),
    ],
)
def test_destination_rules(good: str, bad: str, found: str) -> None:
    assert of_destination_rule(good) == []
    (error,) = of_destination_rule(bad)
    assert error.startswith(found)
