"""Templates: users' own pieces of pods, as YAML with values in it.

A template is YAML that holds a piece of a Pod. Between `{{` and `}}` may stand a value of the pod
or of the mesh, such as `{{ .ObjectMeta.Namespace }}` or `{{ index .ObjectMeta.Labels "app" }}`. The
YAML is read first and values are put into its texts afterwards: no value can become structure.
Conditions, loops and functions of Go's templates are refused, with the expression that was not
understood.
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from libs.api import documents

MAX_TEXT = 128 * 1024
MAX_ACTIONS = 500
_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_FIELD = re.compile(r"(?:\.[A-Za-z_][A-Za-z0-9_]{0,62}){1,8}")
_INDEX = re.compile(
    r"index\s+((?:\.[A-Za-z_][A-Za-z0-9_]{0,62}){1,8})\s+(?:\"([^\"`]*)\"|`([^`]*)`)"
)
_COMMENT = re.compile(r"/\*.*\*/", re.DOTALL)
_TOKEN = re.compile(r"seine-value-(\d{1,4})-enlav")

Steps = tuple[str, ...]


class Template(Struct, frozen=True):
    """A piece of a pod with tokens in its texts, and the steps to the value of each token."""

    fragment: Mapping[str, Any]
    values: tuple[Steps, ...] = ()


def compiled(text: str) -> tuple[Template | None, str]:
    """Return the template, or None and what is wrong with it."""
    if len(text) > MAX_TEXT:
        return None, f"a template has at most {MAX_TEXT} characters"
    values: list[Steps] = []
    wrong: list[str] = []

    def token(found: re.Match[str]) -> str:
        if _COMMENT.fullmatch(found[1]):
            return ""
        steps = _steps(found[1])
        if steps is None or len(values) >= MAX_ACTIONS:
            wrong.append(found[1])
            return ""
        values.append(steps)
        return f"seine-value-{len(values) - 1}-enlav"

    prepared = _ACTION.sub(token, text)
    if wrong:
        said = f"{{{{ {wrong[0][:100]} }}}} is not supported: only values such as "
        return None, said + '{{ .ObjectMeta.Name }} and {{ index .ObjectMeta.Labels "app" }} are'
    for document in documents.read(prepared, "")[:1]:
        if document.raw is None:
            first = document.problems[0]
            return None, f"line {first.line} of the template: {first.text}"
        return Template(document.raw, tuple(values)), ""
    return Template({}), ""


def render(template: Template, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the piece with its values; what the data does not have is an empty text."""
    texts = [_look_up(data, steps) for steps in template.values]
    found = _filled(dict(template.fragment), texts)
    return found if isinstance(found, dict) else {}


def _steps(expression: str) -> Steps | None:
    if _FIELD.fullmatch(expression):
        return tuple(expression[1:].split("."))
    if found := _INDEX.fullmatch(expression):
        return (*found[1][1:].split("."), found[2] if found[2] is not None else found[3])
    return None


def _look_up(data: Mapping[str, Any], steps: Steps) -> Any:  # noqa: ANN401 - JSON
    at: Any = data
    for step in steps:
        if not isinstance(at, Mapping):
            return ""
        small = step[:1].lower() + step[1:]  # Go's names of fields are written large
        at = at.get(step, at.get(small, ""))
    return "" if at is None else at


def _filled(value: Any, values: list[Any]) -> Any:  # noqa: ANN401 - JSON
    """The reader of YAML bounds the depth."""
    if isinstance(value, dict):
        return {_text(key, values): _filled(inner, values) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, values) for inner in value]
    if not isinstance(value, str):
        return value
    whole = _TOKEN.fullmatch(value)
    return values[int(whole[1])] if whole else _text(value, values)


def _text(text: str, values: list[Any]) -> str:
    def put(found: re.Match[str]) -> str:
        value = values[int(found[1])]
        return value if isinstance(value, str) else str(value)

    return _TOKEN.sub(put, text)
