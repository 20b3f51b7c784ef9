"""The model on the wire: msgpack of its Structs, one definition of each type."""

import msgspec
from msgspec import Struct

from libs.model.mesh import ROW_TYPES, Table

SCHEMA = 1
"""Counts incompatible changes of the model; part of every key that names model bytes."""

_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
_DECODERS = {table: msgspec.msgpack.Decoder(row) for table, row in ROW_TYPES.items()}


def encode(row: Struct) -> bytes:
    """Return the bytes of a row; equal rows give equal bytes."""
    return _ENCODER.encode(row)


def decode(table: Table, body: bytes) -> Struct:
    """Return the row of `table` that `body` carries.

    Raises:
        msgspec.DecodeError: `body` is not such a row.

    """
    return _DECODERS[table].decode(body)
