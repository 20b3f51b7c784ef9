"""Mutants: a document with one of its fields taken out, or given another value.

A spot is one place where a document sets a field. The texts of MeshConfig and MeshNetworks inside
of their ConfigMap are documents of their own, of kinds of those names.
"""

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple, get_args, get_origin

import yaml
from msgspec import Struct
from msgspec.structs import fields

from libs.api import mesh_config, registry
from libs.api.mesh_config import MeshConfig
from libs.api.mesh_networks import MeshNetworks
from libs.api.registry import Kind
from libs.api.scalars import Duration, JsonObject
from tests.tools.field_paths import is_message, present, title

Raw = dict[str, Any]
TEXTS: Mapping[str, tuple[str, type[Struct]]] = {
    "MeshConfig": (mesh_config.KEY, MeshConfig),
    "MeshNetworks": (mesh_config.NETWORKS_KEY, MeshNetworks),
}
"""The key of the mesh's ConfigMap under which a text of a kind stands, and its type."""
_SKIPPED = frozenset({"apiVersion", "kind", "metadata", "status"})
_TEXTS = (
    "other",
    "POST",
    "GRPC-WEB",
    "TCP",
    "UDP",
    "remote.ip",
    "Service",
    "GatewayClass",
    "203.0.113.77",
    "203.0.113.64/26",
    "2001:db8::77",
    "http://other.example/x",
    "*.other.example",
    "1",
    "true",
    "50%",
)


class Spot(NamedTuple):
    """One place of a document where a field is set; `path` has `[]` for items."""

    kind: str
    path: str
    steps: tuple[str | int, ...]
    annotation: Any


def spots(document: Raw) -> list[Spot]:
    """Return where a document sets fields of the mesh's kinds."""
    kind = registry.find(str(document.get("apiVersion")), str(document.get("kind")))
    if not isinstance(kind, Kind) or kind.struct is None:
        return []
    if _is_of_mesh(document):
        return [
            Spot(named, *rest)
            for named, (_, struct) in TEXTS.items()
            for rest in _below(struct, text_of(document, named), "", ())
            if rest[0]
        ]
    found = _below(kind.struct, document, "", ())
    return [Spot(title(kind), *rest) for rest in found if rest[1][0] not in _SKIPPED]


def _is_of_mesh(document: Raw) -> bool:
    named = document.get("kind"), document.get("metadata", {}).get("name")
    return named == ("ConfigMap", mesh_config.NAME)


def text_of(document: Raw, kind: str) -> Raw:
    """Return what the mesh's ConfigMap says in the text of a kind; nothing if it has none."""
    found: Raw = yaml.safe_load(document["data"].get(TEXTS[kind][0], "")) or {}
    return found


def mutants(document: Raw, spot: Spot) -> Iterator[Raw]:
    """Yield the document without what stands at the spot, then with other values there."""
    for change in (_remove, *map(_setter, _others(spot.annotation, at(document, spot)))):
        yield _changed(document, spot, change)


def pairs(document: Raw, spot: Spot) -> Iterator[tuple[Raw, Iterator[Raw]]]:
    """Yield documents in which a text beside the spot is another or gone, and those with both.

    Some fields mean nothing without each other, such as the kind and the group of a target.
    """
    beside = at(document, spot._replace(steps=spot.steps[:-1]))
    for key in sorted(beside.keys() - {spot.steps[-1]}) if isinstance(beside, dict) else ():
        if isinstance(beside[key], str):
            other = spot._replace(steps=(*spot.steps[:-1], key), annotation=str)
            for alone in mutants(document, other):
                yield alone, mutants(alone, spot)


def changed(document: Raw, spot: Spot, value: object) -> Raw:
    """Return the document with another value at a spot."""
    return _changed(document, spot, _setter(value))


def _changed(document: Raw, spot: Spot, change: Callable[[Any, str | int], None]) -> Raw:
    made = copy.deepcopy(document)
    root = text_of(made, spot.kind) if spot.kind in TEXTS else made
    place: Any = root
    for step in spot.steps[:-1]:
        place = place[step]
    change(place, spot.steps[-1])
    if spot.kind in TEXTS:
        made["data"][TEXTS[spot.kind][0]] = yaml.safe_dump(root)
    return made


def at(document: Raw, spot: Spot) -> Any:  # noqa: ANN401
    """Return what a document says at a spot."""
    place: Any = text_of(document, spot.kind) if spot.kind in TEXTS else document
    for step in spot.steps:
        place = place[step]
    return place


def _remove(place: Any, step: str | int) -> None:  # noqa: ANN401
    del place[step]


def _setter(value: object) -> Callable[[Any, str | int], None]:
    def change(place: Any, step: str | int) -> None:  # noqa: ANN401
        place[step] = value

    return change


_Found = tuple[str, tuple[str | int, ...], Any]


def _below(
    annotation: Any,  # noqa: ANN401
    value: Any,  # noqa: ANN401
    path: str,
    steps: tuple[str | int, ...],
) -> Iterator[_Found]:
    kind = present(annotation)
    arguments = get_args(kind)
    if isinstance(value, dict) and is_message(kind) and fields(kind):
        for name, field_type, key in _named(kind, value):
            below = f"{path}.{name}" if path else name
            yield from _below(field_type, value[key], below, (*steps, key))
    elif isinstance(value, dict | list) and arguments and is_message(item := _item(kind)):
        items: Iterable[tuple[str | int, object]]
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for place, inner in items:
            yield from _below(item, inner, f"{path}[]", (*steps, place))
    else:
        yield path, steps, annotation


def _item(annotation: Any) -> Any:  # noqa: ANN401
    arguments = get_args(annotation)
    return present(arguments[-1 if get_origin(annotation) is dict else 0])


def _named(struct: type[Struct], value: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    for field in fields(struct):
        for key in sorted({field.name, field.encode_name} & value.keys()):
            yield field.encode_name, field.type, key


def _others(annotation: Any, value: Any) -> Iterable[Any]:  # noqa: ANN401
    """Return other values that a field could have."""
    plain = present(annotation)
    if isinstance(value, list):
        items = [[*value[:at], *value[at + 1 :]] for at in range(len(value))]
        return [*items, *([other, *value[1:]] for other in _others(_inner(plain), value[0]))]
    if isinstance(value, dict):
        return list(_other_maps(plain, value))
    if isinstance(plain, type) and issubclass(plain, Enum):
        return [member.value for member in plain if member.value != value]
    return [other for other in _other_scalars(plain, value) if other != value]


def _other_maps(plain: Any, value: Raw) -> Iterator[Raw]:  # noqa: ANN401
    for key, inner in value.items():
        yield {name: one for name, one in value.items() if name != key}
        if plain is not JsonObject:
            yield from ({**value, key: other} for other in _others(_inner(plain), inner))
    yield dict(zip(value, reversed(value.values()), strict=True))
    yield {**value, "other": "other"}


def _inner(annotation: Any) -> Any:  # noqa: ANN401
    arguments = get_args(annotation)
    return arguments[-1 if get_origin(annotation) is dict else 0] if arguments else str


def _other_scalars(plain: Any, value: Any) -> Iterator[Any]:  # noqa: ANN401
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (value + 1, value - 1, value + 100, value / 2 if plain is float else 1)
    elif plain is Duration:
        yield from ("7s", "77s")
    elif isinstance(value, str):
        yield from (f"{value}x", f"x{value}", *_TEXTS)
        yield from (re.sub(r"\d+", "78", value, count=1), value.swapcase(), value[:-1])
