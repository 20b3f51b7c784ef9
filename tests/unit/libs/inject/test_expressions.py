from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.inject import expressions
from libs.inject.expressions import ExpressionError, parsed

DATA: dict[str, Any] = {
    "ObjectMeta": {
        "name": "web",
        "labels": {"app": "shop", "tier": "front"},
        "annotations": {"example.com/debug": "true", "example.com/empty": ""},
    },
    "Spec": {"containers": [{"name": "app", "image": "app:1"}]},
    "Values": {"global": {"hub": "registry.example", "count": 3, "zones": ["a", "b"]}},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (".ObjectMeta.Name", "web"),
        (".Values.global.zones", ["a", "b"]),
        (".Values.nothing.here", ""),
        ('index .ObjectMeta.Labels "app"', "shop"),
        ("index .ObjectMeta.Labels `nobody`", ""),
        ('index .ObjectMeta "labels" "tier"', "front"),
        ("(index .Spec.Containers 0 `image`)", "app:1"),
        ("index .Spec.Containers 7 `image`", ""),
        ("annotation .ObjectMeta `example.com/debug` `false`", "true"),
        ("annotation .ObjectMeta `example.com/other` .Values.global.count", 3),
        ("annotation .ObjectMeta `example.com/empty` `full`", ""),
        ("annotation .ObjectMeta `example.com/other`", ""),
        ("isset .ObjectMeta.Annotations `example.com/empty`", True),
        ("isset .ObjectMeta.Annotations `example.com/other`", False),
        (".Values.global.tag | default `latest`", "latest"),
        ("default `latest` .Values.global.hub", "registry.example"),
        ("valueOrDefault .Values.global.tag `latest`", "latest"),
        ("valueOrDefault .Values.global.tag nil", ""),
        (".Values.global.count | quote", "3"),
        (".Values.global.zones | toJSON", '["a","b"]'),
        ("print .Values.global.hub `/proxy:` (.Values.global.tag | default `1`)", None),
        ("eq .Values.global.count 3", True),
        ("eq (index .ObjectMeta.Labels `tier`) `back` `front`", True),
        ("ne .ObjectMeta.Name `web`", False),
        ("and (eq 1 1) (not .Values.nothing)", True),
        ("or .Values.nothing `x`", "x"),
        ("not (annotation .ObjectMeta `example.com/debug`)", False),
        ("contains `shop` (index .ObjectMeta.Labels `app`)", True),
        ("lower `ABC`", "abc"),
        ("true", True),
        ("-7", -7),
    ],
)
def test_values(text: str, value: object) -> None:
    expected = "registry.example/proxy:1" if value is None else value
    assert parsed(text)(DATA) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("if .Values.global.debug", "$when"),
        ("else", "$when"),
        ("end", "$when"),
        ("range .Spec.Containers", "write the entries out"),
        ("with .Values.global", "write whole paths"),
        ("template `x` .", "write it out"),
        ("env `HOME` ``", ".Values"),
        (".Values.global.zones | toYaml", "stays the list"),
        ("unheardOf .X", "there is no function unheardOf; there are annotation"),
        ("index .X", "takes 2 to 16 arguments, not 1"),
        ("not index .X `a`", "must stand in parentheses"),
        (".X | .Y", "there must be a function"),
        ("(.X", "not closed"),
        (".X )", "stands where the end should be"),
        ("$x := .Y", "write whole paths"),
        (".", "neither a value nor a function"),
        ("", "no value"),
        ("(" * 40, "nested deeper"),
        (".X" * 600, "characters"),
    ],
)
def test_what_is_not_understood_says_what_to_write(text: str, said: str) -> None:
    with pytest.raises(ExpressionError, match=said.replace("$", r"\$")):
        parsed(text)


@pytest.mark.parametrize(
    ("value", "true"),
    [("x", True), (1, True), ([0], True), ("", False), (0, False), ({}, False), ("False", False)],
)
def test_what_holds(value: object, true: bool) -> None:
    assert expressions.holds(value) is true


WORDS = st.sampled_from([
    ".ObjectMeta.Labels", ".Spec", '"app"', "`x`", "3", "true", "(", ")", "|",
    "index", "annotation", "eq", "not", "and", "default", "toJSON", "isset", "contains", "print",
])  # fmt: skip


@given(st.lists(WORDS, max_size=12), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
))  # fmt: skip
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_understood_has_a_value_for_all_data(words: list[str], value: Any) -> None:  # noqa: ANN401
    try:
        evaluate = parsed(" ".join(words))
    except ExpressionError:
        return
    for data in (DATA, {"ObjectMeta": value, "Spec": value}):
        evaluate(data)
