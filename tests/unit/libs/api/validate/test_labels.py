import pytest

from libs.api.validate.labels import is_key
from tests.support.rulings import of_destination_rule, of_policy

SUBSET = "host: a\nsubsets: [{name: v1, labels: {%s}}]"


@pytest.mark.parametrize(
    "key", ["app", "a.b/c", "a_b.c-d", "A", "1", "a" * 63, "a.b/" + "c" * 63, "a" * 253 + "/b"]
)
def test_keys(key: str) -> None:
    assert is_key(key)


@pytest.mark.parametrize(
    "key", ["", "-a", "a-", "a b", "a/b/c", "/a", "a/", "a_b/c", "é", "a" * 64, "a" * 254 + "/b"]
)
def test_what_is_no_key(key: str) -> None:
    assert not is_key(key)


@pytest.mark.parametrize(
    ("good", "bad"),
    [("app: reviews", "app: re views"), ('app: ""', 'app: "*"'), ("a/b: c", '"": c')],
)
def test_labels_are_those_of_kubernetes(good: str, bad: str) -> None:
    assert of_destination_rule(SUBSET % good) == []
    (found,) = of_destination_rule(SUBSET % bad)
    assert found.startswith("spec.subsets[0].labels")
    assert found.endswith(" InvalidLabel")


@pytest.mark.parametrize(
    ("good", "bad", "reason"),
    [
        ("a: b", '"a*": b', "InvalidLabel"),
        ("a: b", 'a: "b*"', "InvalidLabel"),
        ("a: b", '"": b', "InvalidLabel"),
        ("a: " + "b" * 63, "a: " + "b" * 64, "OutOfRange"),
    ],
)
def test_selectors_have_no_wildcards(good: str, bad: str, reason: str) -> None:
    spec = "selector: {matchLabels: {%s}}\nrules: [{}]"
    assert of_policy(spec % good) == []
    (found,) = of_policy(spec % bad)
    assert found.startswith("spec.selector.matchLabels")
    assert found.endswith(reason)


@pytest.mark.parametrize("empty", ["{}", "{matchLabels: {}}"])
def test_an_empty_selector_is_hardly_meant(empty: str) -> None:
    found = of_policy(f"selector: {empty}\nrules: [{{}}]")
    assert found == ["warning spec.selector.matchLabels EmptySelector"]
