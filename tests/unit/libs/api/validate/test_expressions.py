import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.api.validate.expressions import MAX_DEPTH, MAX_LENGTH, without_text, wrong_expression


@pytest.mark.parametrize(
    "good",
    [
        "response.code >= 400 && request.method != 'GET'",
        '!has(request.headers.a) || request.url_path.startsWith("/a")',
        "a ? b : c ? d : e",
        "a.b.getHours('UTC')[0].f",
        "size(a) + b.size() + int('1') + uint(2)",
        "a.matches('^/x(/|$)') || matches(a, b)",
        "[1, 2u, 0x1F, 1.5, .5, 1e3,] == []",
        "{'a': 1, b: c}.a in [x]",
        "r'\\d' + \"\\n\" + '''a'b''' + b'x'",
        "--1 - -a % (b * c) / 2",
        "google.protobuf.Duration{seconds: 1}",
        ".size(b) == null // comment",
        "connection.mtls == true",
        "x.`odd-name`",
    ],
)
def test_what_can_be_read(good: str) -> None:
    assert wrong_expression(good) == ""


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "(",
        "a &&",
        "a = b",
        "a..b",
        "a b",
        "'open",
        "'a\nb'",
        "a ? b",
        "size(a,)",
        "size()",
        "size(a, b)",
        "f(a)",
        "a.lowerAscii()",
        "a.startsWith('x', 'y')",
        "string(destination.port)",
        "has(request.headers['x-a'])",
        "has(a)",
        "[1].exists(x, x == 1)",
        "a.matches('(')",
        "matches(a, '(')",
        "{a}",
        "[1,,]",
        "in",
        "package.a",
        "a.true",
        "!-a!",
        "a[",
        "#",
        "1..2",
    ],
)
def test_what_cannot(bad: str) -> None:
    assert wrong_expression(bad).startswith("not an expression of CEL: ")


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("string(destination.port)", "destination.port"),
        (" string( a.getHours(')') ) ", "a.getHours(')')"),
        ("string(a) + string(b)", "string(a) + string(b)"),
        ("string(a", "string(a"),
        ("strings(a)", "strings(a)"),
        ("'", "'"),
        ("a", "a"),
    ],
)
def test_a_conversion_to_text_around_the_whole(text: str, rest: str) -> None:
    assert without_text(text) == rest


def test_there_is_an_end_to_depth_and_length() -> None:
    depth = MAX_DEPTH - 1
    assert wrong_expression("(" * depth + "a" + ")" * depth) == ""
    assert "nested" in wrong_expression("(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH)
    assert "longer" in wrong_expression("a" * (MAX_LENGTH + 1))
    assert wrong_expression("a" + ".b" * 5000) == ""


@pytest.mark.parametrize("text", ["'" * 16000, "(" * 16000, "a?" * 8000, '"""' * 5000, "!" * 16000])
def test_malice_costs_little(text: str) -> None:
    start = time.process_time()
    wrong_expression(text)
    sys.stdout.write(f"{(time.process_time() - start) * 1000:.0f} ms\n")


@given(st.text(max_size=200) | st.text("ab.()[]{}?:,'\"\\!-&|= 1r", max_size=60))
def test_no_text_makes_it_raise(text: str) -> None:
    wrong_expression(text)
