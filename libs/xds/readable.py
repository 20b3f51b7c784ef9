"""Resources for people: Envoy's messages in the JSON of its own configuration dump.

Two things JSON made from the protos would get wrong: maps come in no order, and fields that Envoy
knows but the protos on PyPI do not yet are left out, so that Envoy would refuse what is shown.
"""

from collections.abc import Mapping

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from libs.xds.generate import metrics

_MAPS = frozenset(
    {
        "filter_metadata",
        "json_format",
        "key_values",
        "policies",
        "providers",
        "typed_extension_protocol_options",
        "typed_per_filter_config",
    }
)


def as_json(message: Message) -> dict[str, object]:
    """Return a message as Envoy would read and show it; equal messages look equal."""
    fields = MessageToDict(message, preserving_proto_field_name=True)
    return {name: _readable(value, free=name in _MAPS) for name, value in fields.items()}


def _readable(value: object, *, free: bool) -> object:
    """Return `value` with keys sorted if they are `free`, and all that is in it likewise."""
    if isinstance(value, list):
        return [_readable(item, free=free) for item in value]
    if not isinstance(value, Mapping):
        return value
    items = sorted(value.items()) if free else value.items()
    found = {key: _readable(item, free=free or key in _MAPS) for key, item in items}
    if found.get("@type") == metrics.TYPE_URL:
        found["stats_scope"] = metrics.SCOPE
    return found
