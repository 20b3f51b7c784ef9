"""Limits: how much one stream may ask for, checked before anything is kept of a request."""

from collections.abc import Collection

from google.protobuf.struct_pb2 import Struct as ProtoStruct
from msgspec import Struct

from libs.xds.stream.errors import LimitExceededError, MalformedRequestError


class Limits(Struct, frozen=True):
    """Counts and bytes. Each is far above what a real proxy of a large mesh needs."""

    names: int = 65_536  # subscribed or reported, for each type
    types: int = 32
    name_bytes: int = 4096
    type_bytes: int = 256
    node_id_bytes: int = 1024
    metadata_bytes: int = 512 * 1024  # annotations alone may be 256 KiB


def check_type(limits: Limits, type_url: str, known: Collection[str]) -> None:
    """Check the type of a request on a stream that already speaks of `known`.

    Raises:
        MalformedRequestError: no type, or one that is too long.
        LimitExceededError: one type too many.

    """
    if not type_url or len(type_url) > limits.type_bytes:
        message = f"a request needs a type_url of at most {limits.type_bytes} bytes"
        raise MalformedRequestError(message)
    if type_url not in known and len(known) >= limits.types:
        message = f"one stream carries at most {limits.types} types"
        raise LimitExceededError(message)


def check_names(limits: Limits, names: Collection[str], type_url: str) -> None:
    """Check the names that a client would have after a request.

    Raises:
        MalformedRequestError: a name is too long.
        LimitExceededError: too many names.

    """
    if len(names) > limits.names:
        message = f"{len(names)} names of {type_url}; one stream has at most {limits.names}"
        raise LimitExceededError(message)
    if any(len(name) > limits.name_bytes for name in names):
        message = f"a resource name has at most {limits.name_bytes} bytes"
        raise MalformedRequestError(message)


def check_node(limits: Limits, node_id: str, metadata: ProtoStruct) -> None:
    """Check the node that opens a stream.

    Raises:
        MalformedRequestError: no id, or one that is too long.
        LimitExceededError: more metadata than a node may have.

    """
    if not node_id or len(node_id) > limits.node_id_bytes:
        message = f"the first request needs a node id of at most {limits.node_id_bytes} bytes"
        raise MalformedRequestError(message)
    if metadata.ByteSize() > limits.metadata_bytes:
        message = f"the node has more than {limits.metadata_bytes} bytes of metadata"
        raise LimitExceededError(message)
