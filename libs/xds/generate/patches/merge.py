"""Merge: what a patch says, laid over a message.

As protobuf merges, with three differences, which are Istio's: what is packed in an `Any` is merged
with what is packed there if both are of one type, and replaces it otherwise; durations and wrapped
values are replaced whole, so that `false` and 0 can be said; and lists can be replaced on demand.
"""

from typing import Any

from google.protobuf import any_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from libs.xds.generate import typed
from libs.xds.generate.patches.values import message_type

_ANY = "google.protobuf.Any"
_STRUCT = "google.protobuf.Struct"


def merge(into: Message, patch: Message, *, replace_lists: bool = False) -> None:
    """Lay all that is set in `patch` over `into`."""
    for field, value in patch.ListFields():
        if field.is_repeated:
            _merge_many(into, field, value, replace_lists=replace_lists)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            _merge_message(getattr(into, field.name), value, replace_lists=replace_lists)
        else:
            setattr(into, field.name, value)


def _merge_many(
    into: Message,
    field: FieldDescriptor,
    value: Any,  # noqa: ANN401 - a repeated field or a map: they have no type in common
    *,
    replace_lists: bool,
) -> None:
    if not _is_map(field):
        if replace_lists:
            into.ClearField(field.name)
        getattr(into, field.name).extend(value)
        return
    current = getattr(into, field.name)
    for key, item in value.items():
        if isinstance(item, Message):
            current[key].CopyFrom(item)
        else:
            current[key] = item


def _is_map(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and bool(kind.GetOptions().map_entry)


def _merge_message(current: Message, value: Message, *, replace_lists: bool) -> None:
    current.SetInParent()
    name = value.DESCRIPTOR.full_name
    if isinstance(current, any_pb2.Any) and isinstance(value, any_pb2.Any) and name == _ANY:
        _merge_any(current, value, replace_lists=replace_lists)
    elif name.startswith("google.protobuf.") and name != _STRUCT:
        current.CopyFrom(value)
    else:
        merge(current, value, replace_lists=replace_lists)


def _merge_any(current: any_pb2.Any, value: any_pb2.Any, *, replace_lists: bool) -> None:
    kind = message_type(value.type_url)
    if current.type_url != value.type_url or kind is None:
        current.CopyFrom(value)
        return
    try:
        merged, patch = kind.FromString(current.value), kind.FromString(value.value)
    except DecodeError:
        current.CopyFrom(value)
        return
    merge(merged, patch, replace_lists=replace_lists)
    current.CopyFrom(typed.pack(merged))
