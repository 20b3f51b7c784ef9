"""Templates: users' own pieces of pods, as YAML with values in it.

A template is YAML that holds a piece of a Pod. Between `{{` and `}}` may stand a value of the pod
or of the mesh, such as `{{ .ObjectMeta.Namespace }}` (see `expressions`). The YAML is read first
and values are put into its texts afterwards: no value can become structure. An object with the key
`$when` is there only if its value holds. What else Go's templates have is refused, with what to
write instead.
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from libs.api import documents
from libs.inject.expressions import Evaluate, ExpressionError, holds, parsed

MAX_TEXT = 128 * 1024
MAX_ACTIONS = 500
_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_COMMENT = re.compile(r"/\*.*\*/", re.DOTALL)
_TOKEN = re.compile(r"seine-value-(\d{1,4})-enlav")

WHEN = "$when"
"""The key of an object that says whether the object is there."""
_GONE = object()


class Template(Struct, frozen=True):
    """A piece of a pod with tokens in its texts, and what evaluates each token."""

    fragment: Mapping[str, Any]
    values: tuple[Evaluate, ...] = ()


def compiled(text: str) -> tuple[Template | None, str]:
    """Return the template, or None and what is wrong with it."""
    if len(text) > MAX_TEXT:
        return None, f"a template has at most {MAX_TEXT} characters"
    values: list[Evaluate] = []
    wrong: list[str] = []

    def token(found: re.Match[str]) -> str:
        if _COMMENT.fullmatch(found[1]):
            return ""
        try:
            values.append(_evaluate(found[1], len(values)))
        except ExpressionError as error:
            wrong.append(f"{{{{ {found[1][:100]} }}}}: {error}")
            return ""
        return f"seine-value-{len(values) - 1}-enlav"

    prepared = _ACTION.sub(token, text)
    if wrong:
        return None, wrong[0]
    for document in documents.read(prepared, "")[:1]:
        if document.raw is None:
            first = document.problems[0]
            return None, f"line {first.line} of the template: {first.text}"
        return Template(document.raw, tuple(values)), ""
    return Template({}), ""


def render(template: Template, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the piece with its values; what the data does not have is an empty text."""
    found = _filled(dict(template.fragment), [evaluate(data) for evaluate in template.values])
    return found if isinstance(found, dict) else {}


def _evaluate(expression: str, known: int) -> Evaluate:
    if known >= MAX_ACTIONS:
        raise ExpressionError(f"a template has at most {MAX_ACTIONS} values")
    return parsed(expression)


def _filled(value: Any, values: list[Any]) -> Any:  # noqa: ANN401 - JSON
    """The reader of YAML bounds the depth."""
    if isinstance(value, dict):
        if WHEN in value and not holds(_filled(value[WHEN], values)):
            return _GONE
        filled = ((key, _filled(value[key], values)) for key in value if key != WHEN)
        return {_text(key, values): inner for key, inner in filled if inner is not _GONE}
    if isinstance(value, list):
        return [one for inner in value if (one := _filled(inner, values)) is not _GONE]
    if not isinstance(value, str):
        return value
    whole = _TOKEN.fullmatch(value)
    return values[int(whole[1])] if whole else _text(value, values)


def _text(text: str, values: list[Any]) -> str:
    def put(found: re.Match[str]) -> str:
        value = values[int(found[1])]
        return value if isinstance(value, str) else str(value)

    return _TOKEN.sub(put, text)
