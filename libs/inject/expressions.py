"""Expressions: the values that users' templates may name, and the few functions on them.

What stands between `{{` and `}}` is one value: a path such as `.ObjectMeta.Name`, a text, a number,
a function with its arguments, or a chain of them with `|`. Names are those of Istio's templates, so
that their values can be taken over as they are. There are no variables and nothing that repeats: an
expression is read once, costs what its length says, and cannot fail on any data.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

Evaluate = Callable[[Mapping[str, Any]], Any]
"""The value of an expression for data; an empty text for what the data does not have."""

MAX_TEXT = 1000
MAX_DEPTH = 16

_TOKEN = re.compile(
    r"\s*(?:(?P<path>(?:\.[A-Za-z_][A-Za-z0-9_]{0,62}){1,8})"
    r"|\"(?P<text>[^\"\\]*)\"|`(?P<raw>[^`]*)`"
    r"|(?P<number>-?[0-9]{1,15})"
    r"|(?P<word>[A-Za-z][A-Za-z0-9]{0,40})"
    r"|(?P<sign>[|()]))"
)
_FIRST = re.compile(r"\s*([A-Za-z]+|\$)")
_INSTEAD: Mapping[str, str] = {
    "$": "write whole paths; there are no variables",
    "if": "write `$when: '{{ … }}'` into the entry that depends on it",
    "else": "write a second entry with `$when: '{{ not … }}'`",
    "end": "write `$when: '{{ … }}'` into the entry that depends on it",
    "range": "write the entries out; nothing is repeated",
    "with": "write whole paths",
    "template": "write it out; templates do not call each other",
    "include": "write it out; templates do not call each other",
    "define": "make it a template of its own, and name both in inject.istio.io/templates",
    "block": "make it a template of its own, and name both in inject.istio.io/templates",
    "env": "put the value into the injector's `values`, and write {{ .Values.… }}",
    "toYaml": "write {{ … }} alone as the value of a key: it stays the list or object that it is",
    "nindent": "write {{ … }} alone as the value of a key: it stays the list or object that it is",
    "indent": "write {{ … }} alone as the value of a key: it stays the list or object that it is",
    "fromJSON": "write the entries as YAML",
    "structToJSON": "write {{ toJSON … }}",
}


class ExpressionError(ValueError):
    """An expression is not understood; the text says what to write instead."""


def parsed(text: str) -> Evaluate:
    """Return what evaluates the expression.

    Raises:
        ExpressionError: it is none.

    """
    if len(text) > MAX_TEXT:
        raise ExpressionError(f"has more than {MAX_TEXT} characters")
    if (first := _FIRST.match(text)) and first[1] in _INSTEAD:
        raise ExpressionError(f"{first[1]} is not supported: {_INSTEAD[first[1]]}")
    reader = _Reader(_tokens(text))
    found = reader.chain(0)
    if reader.next:
        raise ExpressionError(f"{reader.next[1]!r} stands where the end should be")
    return found


def holds(value: object) -> bool:
    """Tell whether a value counts as true: annotations say `false`, and mean it."""
    return bool(value) and not (isinstance(value, str) and value.lower() == "false")


Token = tuple[str, str]


def _tokens(text: str) -> list[Token]:
    found, at = [], 0
    stripped = text.rstrip()
    while at < len(stripped):
        match = _TOKEN.match(stripped, at)
        if match is None or match.lastgroup is None:
            raise ExpressionError(f"{stripped[at : at + 20]!r} is neither a value nor a function")
        found.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return found


class _Reader:
    """Reads tokens from left to right; `next` is the first that is not read yet."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens[::-1]

    @property
    def next(self) -> Token | None:
        return self._tokens[-1] if self._tokens else None

    def chain(self, depth: int) -> Evaluate:
        """A value, and functions that take it as their last argument."""
        if depth > MAX_DEPTH:
            raise ExpressionError(f"is nested deeper than {MAX_DEPTH}")
        found = self._call(depth, ())
        while self.next == ("sign", "|"):
            self._tokens.pop()
            found = self._call(depth, (found,))
        return found

    def _call(self, depth: int, last: tuple[Evaluate, ...]) -> Evaluate:
        if self.next is None or self.next[0] != "word" or self.next[1] in _CONSTANTS:
            if last:
                raise ExpressionError("after | there must be a function")
            return self._value(depth)
        name = self._tokens.pop()[1]
        arguments = []
        while self._tokens and self._tokens[-1] not in _ENDS:
            arguments.append(self._value(depth))
        return _applied(name, (*arguments, *last))

    def _value(self, depth: int) -> Evaluate:
        if not self._tokens:
            raise ExpressionError("there is no value")
        kind, text = self._tokens.pop()
        if kind == "path":
            steps = text[1:].split(".")
            return lambda data: looked_up(data, *steps)
        if kind == "sign" and text == "(":
            return self._closed(depth)
        if kind == "word" and text not in _CONSTANTS:
            raise ExpressionError(f"{text} with its arguments must stand in parentheses")
        if kind == "sign":
            raise ExpressionError(f"{text!r} stands where a value should be")
        value = _constant(kind, text)
        return lambda _: value

    def _closed(self, depth: int) -> Evaluate:
        found = self.chain(depth + 1)
        if not self._tokens or self._tokens.pop() != ("sign", ")"):
            raise ExpressionError("a parenthesis is not closed")
        return found


_CONSTANTS = {"true": True, "false": False, "nil": ""}
_ENDS = {("sign", "|"), ("sign", ")")}


def _constant(kind: str, text: str) -> object:
    if kind == "number":
        return int(text)
    return _CONSTANTS[text] if kind == "word" else text


def _applied(name: str, arguments: tuple[Evaluate, ...]) -> Evaluate:
    if name in _INSTEAD:
        raise ExpressionError(f"{name} is not supported: {_INSTEAD[name]}")
    if name not in FUNCTIONS:
        raise ExpressionError(f"there is no function {name}; there are {', '.join(FUNCTIONS)}")
    function, least, most = FUNCTIONS[name]
    if not least <= len(arguments) <= most:
        many = f"{least}" if least == most else f"{least} to {most}"
        raise ExpressionError(f"{name} takes {many} arguments, not {len(arguments)}")
    return lambda data: function(*(one(data) for one in arguments))


def looked_up(data: object, *steps: object) -> Any:  # noqa: ANN401 - JSON
    """Return what stands at the end of `steps`; an empty text if they lead nowhere."""
    at = data
    for step in steps:
        if isinstance(at, list) and isinstance(step, int):
            at = at[step] if 0 <= step < len(at) else ""
        elif isinstance(at, Mapping):
            name = str(step)
            small = name[:1].lower() + name[1:]  # Go's names of fields are written large
            at = at.get(name, at.get(small, ""))
        else:
            return ""
    return "" if at is None else at


def _annotation(metadata: object, name: object, default: object = "") -> object:
    annotations = looked_up(metadata, "annotations")
    known = isinstance(annotations, Mapping) and name in annotations
    return annotations[name] if known else default


def _is_set(container: object, name: object) -> bool:
    return isinstance(container, Mapping) and name in container


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def _text(value: object) -> str:
    return _json(value) if isinstance(value, bool | Mapping | list) else str(value)


_MANY = 16
FUNCTIONS: Mapping[str, tuple[Callable[..., Any], int, int]] = {
    "annotation": (_annotation, 2, 3),
    "and": (lambda *them: next((one for one in them if not holds(one)), them[-1]), 1, _MANY),
    "contains": (lambda part, whole: _text(part) in _text(whole), 2, 2),
    "default": (lambda instead, value: value if holds(value) else instead, 2, 2),
    "eq": (lambda one, *others: any(_text(one) == _text(other) for other in others), 2, _MANY),
    "index": (looked_up, 2, _MANY),
    "isset": (_is_set, 2, 2),
    "lower": (lambda value: _text(value).lower(), 1, 1),
    "ne": (lambda one, other: _text(one) != _text(other), 2, 2),
    "not": (lambda value: not holds(value), 1, 1),
    "or": (lambda *them: next((one for one in them if holds(one)), them[-1]), 1, _MANY),
    "print": (lambda *them: "".join(map(_text, them)), 1, _MANY),
    "quote": (_text, 1, 1),
    "toJSON": (_json, 1, 1),
    "valueOrDefault": (lambda value, instead: value if holds(value) else instead, 2, 2),
}
"""Each with the least and the most arguments that it takes."""
