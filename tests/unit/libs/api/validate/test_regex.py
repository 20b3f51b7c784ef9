import sys
import time

import pytest

from tests.support.rulings import of_route

MATCH = "match: [{uri: {regex: '%s'}}]"
BAD = ["match[0].uri.regex InvalidRegex"]


@pytest.mark.parametrize(
    "pattern", ["/a.*", "(?i)/a", "^/[a-z]{1,5}$", "(?P<x>a)", "é", "a" * 1024]
)
def test_expressions_of_re2(pattern: str) -> None:
    assert of_route(MATCH % pattern) == []


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "(",
        "[a",
        "a{1001}",
        "(?=a)",
        "(a)\\1",
        "+",
        "a" * 1025,
        "é" * 600,
        "(((((a{100}){100}){100}){100}){100})",
    ],
)
def test_what_is_none(pattern: str) -> None:
    assert of_route(MATCH % pattern) == BAD


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "(.*)*x", "|".join(["a"] * 500)])
def test_what_would_backtrack_costs_nothing(pattern: str) -> None:
    start = time.process_time()
    assert of_route(MATCH % pattern) == []
    sys.stdout.write(f"{(time.process_time() - start) * 1000:.1f} ms\n")


def test_an_alternation_of_60_000_is_refused_before_it_is_compiled() -> None:
    start = time.process_time()
    assert of_route(MATCH % "|".join(f"a{n}" for n in range(60_000))) == BAD
    sys.stdout.write(f"{(time.process_time() - start) * 1000:.1f} ms\n")


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("uri: {prefix: ''}", "scheme: {prefix: ''}", "scheme.prefix EmptyValue"),
        ("uri: {exact: a}", "uri: {exact: a, prefix: b}", "uri ConflictingFields"),
        ("method: {regex: a}", "method: {regex: '('}", "method.regex InvalidRegex"),
        ("authority: {}", "authority: {prefix: ''}", "authority.prefix EmptyValue"),
        (
            "queryParams: {a: {exact: ''}}",
            "queryParams: {a: {regex: '('}}",
            "queryParams.a.regex Inv",
        ),
        (
            "headers: {a: {regex: '*'}}",
            "headers: {a: {regex: '**'}}",
            "headers.a.regex InvalidRegex",
        ),
        (
            "withoutHeaders: {a: {}}",
            "withoutHeaders: {a: {prefix: ''}}",
            "withoutHeaders.a.prefix Em",
        ),
    ],
)
def test_matches(good: str, bad: str, found: str) -> None:
    assert of_route(f"match: [{{{good}}}]") == []
    (error,) = of_route(f"match: [{{{bad}}}]")
    assert error.startswith(f"match[0].{found}")
