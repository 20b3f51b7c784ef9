"""JSON documents: one resource as an API server sends it, as raw data with the caps of manifests.

The twin of `libs.api.documents` for bytes that have no lines to name. Whatever the bytes are,
reading them ends in data or in a Problem.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from libs.api import reasons
from libs.api.composer import MAX_DEPTH, MAX_NODES
from libs.api.documents import MAX_BYTES, Raw
from libs.api.problem import Problem
from libs.model.ids import Ref

_MAX_BYTES = 3 * MAX_BYTES  # etcd's limit is half of that; admission adds what it likes

_decoder = msgspec.json.Decoder()


def read(body: bytes | memoryview) -> tuple[Raw | None, list[Problem]]:
    """Return the object in a body, or None and why there is none."""
    if len(body) > _MAX_BYTES:
        return _refused(reasons.TOO_LARGE, f"{len(body)} bytes; at most {_MAX_BYTES} are read")
    try:
        found = _decoder.decode(body)
    except RecursionError:
        return _refused(reasons.TOO_DEEP, _DEEP)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return _refused(reasons.NOT_AN_OBJECT, f"not JSON: {error}")
    if not isinstance(found, Mapping):
        return _refused(reasons.NOT_AN_OBJECT, "a resource is a mapping with apiVersion and kind")
    return _measured(found)


_DEEP = f"more than {MAX_DEPTH} mappings and lists in each other"


def _measured(root: Raw) -> tuple[Raw | None, list[Problem]]:
    level: list[Any] = [root]
    nodes = 0
    for _ in range(MAX_DEPTH):
        inside = [one.values() if isinstance(one, dict) else one for one in level]
        nodes += sum(map(len, inside))
        if nodes > MAX_NODES:
            return _refused(reasons.TOO_LARGE, f"more than {MAX_NODES} values")
        level = [child for one in inside for child in one if isinstance(child, dict | list)]
        if not level:
            return root, []
    return _refused(reasons.TOO_DEEP, _DEEP)


def _refused(reason: str, text: str) -> tuple[None, list[Problem]]:
    return None, [Problem(Ref(""), "", reason, text)]
