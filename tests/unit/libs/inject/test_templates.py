"""Users' templates: values are put into texts, and no value can become structure."""

import pytest

from libs.inject.templates import compiled, render

DATA = {
    "ObjectMeta": {"name": "web", "labels": {"app": "a: {b: c}\n- x", "version": "{{ .Other }}"}},
    "Values": {"global": {"count": 3}},
}


def _rendered(text: str) -> object:
    template, wrong = compiled(text)
    assert template is not None, wrong
    return render(template, DATA)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: '{{ .ObjectMeta.Name }}'", {"a": "web"}),
        ("a: {{ .ObjectMeta.Name }}", {"a": "web"}),
        ("a: x-{{- .ObjectMeta.name -}}-y", {"a": "x-web-y"}),
        ('a: {{ index .ObjectMeta.Labels "version" }}', {"a": "{{ .Other }}"}),
        ("a: {{ index .ObjectMeta.Labels `nobody` }}", {"a": ""}),
        ("a: {{ .Values.global.count }}", {"a": 3}),
        ("a: n{{ .Values.global.count }}", {"a": "n3"}),
        ("{{ .ObjectMeta.Name }}: 1", {"web": 1}),
        ("a: {{/* says nothing */}} 1", {"a": 1}),
        ("", {}),
    ],
)
def test_values_are_put_in(text: str, expected: object) -> None:
    assert _rendered(text) == expected


def test_a_value_stays_a_text_whatever_it_looks_like() -> None:
    found = _rendered('a: {{ index .ObjectMeta.Labels "app" }}\nb: [{{ .ObjectMeta.Name }}]')
    assert found == {"a": "a: {b: c}\n- x", "b": ["web"]}


@pytest.mark.parametrize(
    "text",
    [
        "{{ if .X }}a: 1{{ end }}",
        "{{- range .Spec.Containers }}\n{{ end }}",
        "a: {{ .X | nindent 4 }}",
        "a: {{ toYaml .X }}",
        "a: {{ . }}",
        "a: {{ }}",
        "a: [",
        "- list",
        "a: " + "{{ .X }}" * 600,
        "x" * 200_000,
    ],
    ids=range(10),
)
def test_what_is_not_understood_is_refused_with_a_reason(text: str) -> None:
    template, wrong = compiled(text)
    assert template is None
    assert wrong
    assert len(wrong) < 500


CONDITIONAL = """
spec:
  containers:
  - name: debugger
    $when: '{{ eq (annotation .ObjectMeta `example.com/debug` `false`) `true` }}'
    image: debugger:1
  - name: istio-proxy
    env:
    - {name: ALWAYS, value: "1"}
    - {name: DEBUG, value: "1", $when: "{{ index .ObjectMeta.Annotations `example.com/debug` }}"}
  securityContext: {$when: false, runAsUser: 1}
"""


@pytest.mark.parametrize("debug", ["true", "false", ""])
def test_entries_are_there_when_their_condition_holds(debug: str) -> None:
    template, _ = compiled(CONDITIONAL)
    assert template is not None
    found = render(template, {"ObjectMeta": {"annotations": {"example.com/debug": debug}}})
    spec = found["spec"]
    on = debug == "true"
    names = [one["name"] for one in spec["containers"]]
    assert names == (["debugger", "istio-proxy"] if on else ["istio-proxy"])
    assert [one["name"] for one in spec["containers"][-1]["env"]] == ["ALWAYS", *["DEBUG"] * on]
    assert "securityContext" not in spec
    assert "$when" not in str(found)


def test_a_piece_whose_own_condition_does_not_hold_is_empty() -> None:
    template, _ = compiled("$when: '{{ .Nothing }}'\nspec: {}\n")
    assert template is not None
    assert render(template, {}) == {}
