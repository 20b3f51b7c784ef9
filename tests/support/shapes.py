"""Values of a type of the API, as it is annotated: they get past reading, to the rules."""

from collections.abc import Callable, Sequence
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from msgspec.structs import fields

from libs.api.scalars import Duration, JsonObject

Draw = Callable[[Sequence[Any]], Any]
"""Chooses one of several."""

TEXTS = [
    "a",
    "*",
    "*.b",
    "(",
    "%",
    "a/b",
    "1.2.3.4",
    "10.0.0.0/8",
    "unix:///a",
    "HTTP",
    "TLS",
    "http://a",
    "a==b",
    "127.0.0.1:80",
    "~/*",
    "é",
    "1s",
    "a.b",
    "0s",
    "*/*",
    "./a.b",
    "-1s",
    "ALL",
    "5xx",
    "503",
    "x-a",
    ":authority",
    "@request.auth.claims.a",
    '{"keys":[{"kty":"RSA"}]}',
    "a?b:",
]
NUMBERS = (0, 1, 80, 100, 65535, 65536, 2**31 - 1)
_SCALARS: dict[Any, Sequence[Any]] = {
    str: TEXTS,
    bytes: ("eA==",),
    bool: (True, False),
    int: NUMBERS,
    float: NUMBERS,
    Duration: ("1s", "0s", "1ms", "-1s"),
    JsonObject: ({}, {"a": [1, {"b": "c"}]}),
}


def shaped(annotation: Any, draw: Draw, depth: int = 0) -> object:  # noqa: ANN401
    """Return a value; the deeper it is, the fewer of its optional fields are there."""
    if annotation in _SCALARS:
        return draw(_SCALARS[annotation])
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return shaped(arguments[0], draw, depth)
    if origin in {Union, UnionType}:
        return shaped(draw([it for it in arguments if it is not NoneType]), draw, depth)
    if origin in {tuple, dict}:
        return _several(origin, arguments, draw, depth=depth + 1)
    if issubclass(annotation, Enum):
        return draw([member.value for member in annotation])
    wanted = [it for it in fields(annotation) if it.required or draw(range(depth + 2)) == 0]
    return {it.encode_name: shaped(it.type, draw, depth + 1) for it in wanted}


def _several(origin: Any, arguments: tuple[Any, ...], draw: Draw, *, depth: int) -> object:  # noqa: ANN401
    if origin is tuple:
        return [shaped(arguments[0], draw, depth) for _ in range(draw([1, 1, 2]))]
    return {draw(["80", "a", "*", ""]): shaped(arguments[1], draw, depth)}
