"""The model on the wire: msgpack of its Structs, one definition of each type."""

from hashlib import blake2b

import msgspec
from msgspec import Struct

from libs.model.mesh import ROW_TYPES, Table

SCHEMA = 1
"""Counts incompatible changes of the model; part of every key that names model bytes."""

_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
_AS_GIVEN = msgspec.msgpack.Encoder()
_DECODERS = {table: msgspec.msgpack.Decoder(row) for table, row in ROW_TYPES.items()}


def encode(row: Struct) -> bytes:
    """Return the bytes of a row, or of any Struct of rows; equal rows give equal bytes."""
    try:
        return _ENCODER.encode(row)
    except TypeError:  # msgspec puts mappings in order only by texts, and a port is a number
        return _AS_GIVEN.encode(_in_order(msgspec.to_builtins(row, builtin_types=(bytes,))))


def _in_order(plain: object) -> object:
    if isinstance(plain, dict):
        return {key: _in_order(value) for key, value in sorted(plain.items())}
    if isinstance(plain, list | tuple):
        return [_in_order(value) for value in plain]
    return plain


def digest(row: Struct) -> bytes:
    """Return 16 bytes that are equal for equal rows and else differ."""
    return blake2b(encode(row), digest_size=16).digest()


def decode(table: Table, body: bytes) -> Struct:
    """Return the row of `table` that `body` carries.

    Raises:
        msgspec.DecodeError: `body` is not such a row.

    """
    return _DECODERS[table].decode(body)
