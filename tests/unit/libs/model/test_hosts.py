import pytest

from libs.model.hosts import expand, is_wildcard, matches, most_specific, specificity


@pytest.mark.parametrize(
    ("pattern", "host", "covered"),
    [
        ("*", "a.b", True),
        ("*", "*.b", True),
        ("*", "*", True),
        ("*.b", "a.b", True),
        ("*.b", "x.a.b", True),
        ("*.b", "b", False),
        ("*.b", "ab", False),
        ("*.b", "*.b", True),
        ("*.b", "*.a.b", True),
        ("*.a.b", "*.b", False),
        ("*.b", "*", False),
        ("a.b", "a.b", True),
        ("a.b", "*.b", False),
        ("a.b", "a.b.c", False),
    ],
)
def test_a_pattern_covers_a_host(pattern: str, host: str, covered: bool) -> None:
    assert matches(pattern, host) is covered


def test_the_nearest_pattern() -> None:
    patterns = ["*", "*.shop.example", "*.example", "web.shop.example"]
    assert most_specific(patterns, "web.shop.example") == "web.shop.example"
    assert most_specific(patterns, "api.shop.example") == "*.shop.example"
    assert most_specific(patterns, "web.other.example") == "*.example"
    assert most_specific(patterns, "web.org") == "*"
    assert most_specific(["*.example"], "web.org") is None


def test_an_exact_host_is_more_specific_than_any_pattern() -> None:
    assert specificity("a.b") > specificity("*.a-very-long.suffix.example")
    assert specificity("*.a.b") > specificity("*.b") > specificity("*")
    assert is_wildcard("*")
    assert is_wildcard("*.b")
    assert not is_wildcard("a.b")


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("web", "web.shop.svc.cluster.local"),
        ("WEB", "web.shop.svc.cluster.local"),
        ("web.shop", "web.shop"),
        ("Web.Example", "web.example"),
        ("*", "*"),
        ("*.example", "*.example"),
        ("", ""),
    ],
)
def test_only_single_labels_are_short(written: str, full: str) -> None:
    assert expand(written, "shop", "cluster.local") == full
