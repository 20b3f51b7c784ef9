"""Newer: fields that Envoy has and the installed bindings of its API do not know yet.

They are written as the bytes that they are on the wire, which messages carry along without
understanding them. Printed as JSON they do not show. Whoever updates `xds-protos` looks here first.
"""

from google.protobuf.message import Message

_VARINT, _BYTES = 0, 2


def set_true(message: Message, number: int) -> None:
    """Set a boolean field by its number."""
    message.MergeFromString(_tag(number, _VARINT) + b"\x01")


def set_message(message: Message, number: int, value: Message) -> None:
    """Set a field that is a message, shorter than 128 bytes, by its number."""
    body = value.SerializeToString(deterministic=True)
    message.MergeFromString(_tag(number, _BYTES) + bytes([len(body)]) + body)


def _tag(number: int, kind: int) -> bytes:
    return bytes([number << 3 | kind])  # numbers below 16 take one byte
