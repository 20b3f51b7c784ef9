"""Stored forms: a set of resources as bytes for the shared cache, and back.

Versions and wire bytes are made anew from the bodies, so that what is read is consistent whatever
was written. `form` names what generated the bytes: replicas of another build share nothing.
"""

import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from libs.model.ids import Ref
from libs.xds.types import Conflict, Outcome, ResourceSet, resource, resource_set

_GENERATING_ROOMS = ("libs.model", "libs.proxy", "libs.xds")


class _Item(Struct, frozen=True, array_like=True, gc=False):
    name: str
    body: bytes
    sources: tuple[Ref, ...]


class _Set(Struct, frozen=True, array_like=True, gc=False):
    items: list[_Item]
    outcomes: tuple[Outcome, ...]
    conflicts: tuple[Conflict, ...] = ()


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Set)


def encode(resources: ResourceSet) -> bytes:
    """Return the bytes of a set."""
    items = [_Item(item.name, item.body, item.sources) for item in resources.resources.values()]
    return _ENCODER.encode(_Set(items, resources.outcomes, resources.conflicts))


def decode(type_url: str, body: bytes) -> ResourceSet | None:
    """Return the set that `encode` wrote, or None if these bytes are no set."""
    try:
        found = _DECODER.decode(body)
        made = [
            resource(item.name, type_url, body=item.body, sources=item.sources)
            for item in found.items
        ]
        read = resource_set(type_url, made, found.outcomes)
        return replace(read, conflicts=found.conflicts) if found.conflicts else read
    except (msgspec.DecodeError, ValueError):
        return None


def form() -> str:
    """Return a digest of the code that generates: other code makes other bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(_sources()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _sources() -> Iterable[Path]:
    for room in _GENERATING_ROOMS:
        spec = importlib.util.find_spec(room)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            yield from Path(folder).rglob("*.py")
