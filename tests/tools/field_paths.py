"""The fields of a kind as paths, and values that they may have.

`[]` in a path stands for each item of a list or map.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from msgspec import Meta, Struct
from msgspec.structs import fields

from libs.api.registry import GROUPS, Kind
from libs.api.scalars import Duration, JsonObject, Timestamp


class Leaf(NamedTuple):
    """A field without fields of its own: its path, and values to try."""

    path: str
    values: tuple[Any, ...]


def title(kind: Kind) -> str:
    """Return the name of a kind, with its group where another kind has the same name."""
    return kind.name if GROUPS[kind.name] == kind.group else f"{kind.name}.{kind.group}"


def leaves(struct: type[Struct]) -> list[Leaf]:
    """Return the fields of a type that have no fields of their own, in the order of the types."""
    return [
        leaf
        for field in fields(struct)
        if field.name not in {"metadata", "status"}
        for leaf in _below(field.type, field.encode_name, ())
    ]


def _below(annotation: Any, path: str, within: tuple[Any, ...]) -> Iterator[Leaf]:  # noqa: ANN401
    """Yield the leaves of a type that stands at a path, inside of other types."""
    annotation = present(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    item = present(arguments[-1 if origin is dict else 0]) if arguments else None
    if origin in {tuple, dict} and is_message(item):
        yield from _below(item, f"{path}[]", within)
    elif not is_message(annotation) or annotation in within or not fields(annotation):
        named = _BY_NAME.get(path.rpartition(".")[2])
        yield Leaf(path, (named,) if named else tuple(values(annotation)))
    else:
        for field in fields(annotation):
            yield from _below(field.type, f"{path}.{field.encode_name}", (*within, annotation))


def present(annotation: Any) -> Any:  # noqa: ANN401
    """Return a type without its bounds and without None."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated and annotation not in {Duration, JsonObject, Timestamp}:
        return present(arguments[0])
    if origin in {Union, UnionType}:
        return present(next(one for one in arguments if one is not NoneType))
    return annotation


def is_message(annotation: Any) -> bool:  # noqa: ANN401
    """Tell whether a type has fields."""
    return isinstance(annotation, type) and issubclass(annotation, Struct)


def values(annotation: Any) -> list[Any]:  # noqa: ANN401
    """Return values that a field of this type may have; all of them if it is a choice."""
    bounds = next((one for one in get_args(annotation)[1:] if isinstance(one, Meta)), None)
    annotation = annotation if annotation in _SAMPLES else present(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in _SAMPLES:
        return [_SAMPLES[annotation]]
    if origin in {tuple, dict}:
        inner = values(arguments[-1 if origin is dict else 0])
        return [[value] if origin is tuple else {"a": value} for value in inner]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [member.value for member in annotation]
    if annotation in {int, float}:
        return [(bounds.ge if bounds else None) or 1]
    return [least(annotation) if is_message(annotation) else "a"]


_SAMPLES: Mapping[Any, Any] = {
    str: "a",
    bool: True,
    bytes: "YQ==",
    Duration: "1s",
    JsonObject: {"a": "b"},
    Timestamp: "2025-01-31T08:00:00Z",
}


def least(struct: type[Struct]) -> dict[str, Any]:
    """Return the least that a Struct needs to be of use."""
    needed = [it for it in fields(struct) if it.required or it.encode_name in _BY_NAME]
    return {
        field.encode_name: _BY_NAME.get(field.encode_name) or values(field.type)[0]
        for field in needed
    }


_BY_NAME = {
    "kind": "Gateway",
    "group": "gateway.networking.k8s.io",
    "url": "https://modules.example/a.wasm",
}
"""Values of fields that are texts by their type, but not any text."""
