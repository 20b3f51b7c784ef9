"""Written: a Struct of the API as a manifest has it, the other way round from `libs.api.readers`.

Fields that have their default are left out, durations are texts again, and bytes are base64. The
writers are made from the annotations of the Structs, once a type.
"""

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from msgspec import Struct
from msgspec.structs import fields

from libs.api.scalars import Duration, JsonObject, Timestamp

Writer = Callable[[Any], Any]


def written(value: Struct) -> dict[str, Any]:
    """Return the fields of `value` by the names that they have in a manifest."""
    return cast("dict[str, Any]", _writer_of(type(value))(value))


@cache
def _writer_of(annotation: Any) -> Writer:  # noqa: ANN401 - any annotation
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if origin is Annotated:
        return _writer_of(arguments[0])
    if origin in {Union, UnionType}:
        present = [one for one in arguments if one is not NoneType]
        return _writer_of(present[0]) if len(present) == 1 else _as_is
    if origin is tuple:
        return _list(_writer_of(arguments[0]))
    return _map(_writer_of(arguments[1])) if origin is dict else _of_class(annotation)


def _of_class(annotation: type) -> Writer:
    if issubclass(annotation, Struct):
        return _struct(annotation)
    return _choice if issubclass(annotation, Enum) else _as_is


def _struct(struct: type[Struct]) -> Writer:
    entries = [
        (field.name, field.encode_name, field.default, _writer_of(field.type))
        for field in fields(struct)
    ]

    def write(value: Struct) -> dict[str, Any]:
        found = ((getattr(value, name), *rest) for name, *rest in entries)
        return {
            name: write_one(inner)
            for inner, name, default, write_one in found
            if inner is not None and inner != default and inner not in ((), {})
        }

    return write


def _list(write: Writer) -> Writer:
    return lambda value: [write(inner) for inner in value]


def _map(write: Writer) -> Writer:
    return lambda value: {str(key): write(inner) for key, inner in value.items()}


def _as_is(value: object) -> object:
    return value


def _choice(value: Enum) -> object:
    return value.value


def _duration(milliseconds: int) -> str:
    if milliseconds % 1000 == 0:
        return f"{milliseconds // 1000}s"
    return f"{milliseconds / 1000:.3f}".rstrip("0") + "s"


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _timestamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_SCALARS: dict[Any, Writer] = {
    Duration: _duration,
    JsonObject: _as_is,
    Timestamp: _timestamp,
    bytes: _base64,
}
