"""Notation: durations of a patch's value in the form that protobuf's JSON knows, `90s`.

Istio reads them as Go does: `1m30s`, `250ms`. Which texts are durations, the types of Envoy's
messages tell, at any depth and in what is packed. What is no duration is left as it is: whether it
fits is not decided here.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from libs.model import durations

TypeOf = Callable[[str], type[Message] | None]
"""Returns the class of a type by its URL, or None."""

_DURATION = "google.protobuf.Duration"
_ANY = "google.protobuf.Any"
_WELL_KNOWN = "google.protobuf."
_PER_SECOND = 1000


def in_seconds(value: object, kind: type[Message], type_of: TypeOf) -> object:
    """Return the JSON `value` of a message of `kind` with each duration in seconds."""
    return _rewritten(value, cast("Descriptor", kind.DESCRIPTOR), type_of)


def _rewritten(value: object, kind: Descriptor, type_of: TypeOf) -> object:
    if kind.full_name == _DURATION:
        return _seconds(value) if isinstance(value, str) else value
    if not isinstance(value, Mapping):
        return value
    if kind.full_name == _ANY:
        named = value.get("@type")
        packed = type_of(named) if isinstance(named, str) else None
        return value if packed is None else in_seconds(value, packed, type_of)
    if kind.full_name.startswith(_WELL_KNOWN):
        return value
    fields = {name: field for field in kind.fields for name in (field.name, field.json_name)}
    return {
        name: _of_field(inner, fields[name], type_of) if name in fields else inner
        for name, inner in value.items()
    }


def _of_field(value: object, field: FieldDescriptor, type_of: TypeOf) -> object:
    kind = field.message_type
    if kind is None:
        return value
    if kind.GetOptions().map_entry:
        inner = kind.fields_by_name["value"].message_type
        if inner is None or not isinstance(value, Mapping):
            return value
        return {key: _rewritten(item, inner, type_of) for key, item in value.items()}
    if isinstance(value, list):
        return [_rewritten(item, kind, type_of) for item in value]
    return _rewritten(value, kind, type_of)


def _seconds(text: str) -> str:
    try:
        milliseconds = durations.parse(text)
    except ValueError:
        return text
    return f"{Decimal(milliseconds.numerator) / milliseconds.denominator / _PER_SECOND:f}s"
