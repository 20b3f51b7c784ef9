"""Warm start: the last mesh in the shared cache, for a start while its source is away.

The source is discovery for config-push, and the API server for discovery; each keeps a mesh of its
own. Written at most every WRITE_SECONDS, in parts that fit the cache. A manifest names the parts by
their digests and is written last, so a mesh is read whole or not at all. It is used only until the
source answers, and not if it is older than MAX_AGE_SECONDS.
"""

import asyncio
import hashlib
import logging
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from libs.cache.cache import Cache
from libs.cache.keys import Key, key
from libs.model import wire
from libs.model.mesh import Key as RowKey
from libs.model.mesh import Mesh, Table
from libs.runtime.clock import Clock

logger = logging.getLogger(__name__)

WRITE_SECONDS = 5.0
MAX_AGE_SECONDS = 24 * 3600
PART_BYTES = 2 * 1024 * 1024


class _Row(Struct, frozen=True, array_like=True, gc=False):
    table: Table
    key: str
    body: bytes


class _Manifest(Struct, frozen=True, gc=False):
    saved: float
    parts: tuple[str, ...]


_ENCODER = msgspec.msgpack.Encoder()
_PART = msgspec.msgpack.Decoder(list[_Row])
_MANIFEST = msgspec.msgpack.Decoder(_Manifest)


class Kept(Struct, frozen=True):
    """A mesh of an earlier life, and the wall time at which it was kept."""

    mesh: Mesh
    saved: float


class WarmMesh:
    """Keeps the latest mesh and gives it back; `owner` is whose it is."""

    def __init__(self, cache: Cache, *, clock: Clock, owner: str) -> None:
        self._cache = cache
        self._clock = clock
        self._owner = owner
        self._latest: Mesh | None = None
        self._wake = asyncio.Event()

    def keep(self, mesh: Mesh) -> None:
        """Keep `mesh` when there is time; only the latest one is."""
        self._latest = mesh
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            mesh, self._latest = self._latest, None
            if mesh is not None:
                if not await self._write(mesh) and self._latest is None:
                    self.keep(mesh)  # once more, unless there is a newer one by then
                await self._clock.sleep(WRITE_SECONDS)

    async def load(self) -> Mesh | None:
        """Return the mesh that was kept, or None."""
        kept = await self.load_kept()
        return kept.mesh if kept else None

    async def load_kept(self) -> Kept | None:
        """Return the mesh that was kept with its age, or None."""
        body = await self._cache.get(_manifest_key(self._owner))
        try:
            manifest = _MANIFEST.decode(body) if body else None
        except msgspec.DecodeError:
            return None
        if manifest is None or self._clock.now() - manifest.saved > MAX_AGE_SECONDS:
            return None
        parts = [await self._cache.get(_part_key(digest)) for digest in manifest.parts]
        bodies = [part for part in parts if part is not None]
        if len(bodies) < len(parts):
            return None
        mesh = await asyncio.to_thread(_decoded, bodies)
        return None if mesh is None else Kept(mesh, manifest.saved)

    async def _write(self, mesh: Mesh) -> bool:
        """Keep all parts and then the manifest; False if any was not taken."""
        parts = await asyncio.to_thread(lambda: list(_parts(mesh)))
        digests = [hashlib.blake2b(part, digest_size=16).hexdigest() for part in parts]
        for digest, part in zip(digests, parts, strict=True):
            if not await self._cache.put(_part_key(digest), part):
                return False
        manifest = _Manifest(self._clock.now(), tuple(digests))
        return await self._cache.put(_manifest_key(self._owner), _ENCODER.encode(manifest))


def _parts(mesh: Mesh) -> Iterator[bytes]:
    rows: list[_Row] = []
    size = 0
    for table, content in mesh.tables.items():
        for name, row in content.items():
            rows.append(_Row(table, name, wire.encode(row)))
            size += len(rows[-1].body) + len(name) + 16
            if size >= PART_BYTES:
                yield _ENCODER.encode(rows)
                rows, size = [], 0
    yield _ENCODER.encode(rows)


def _decoded(parts: list[bytes]) -> Mesh | None:
    try:
        rows = [row for part in parts for row in _PART.decode(part)]
        return Mesh().evolve(
            [(RowKey(row.table, row.key), wire.decode(row.table, row.body)) for row in rows]
        )
    except msgspec.DecodeError:
        logger.warning("kept mesh cannot be read")
        return None


def _manifest_key(owner: str) -> Key:
    return key("mesh", str(wire.SCHEMA), "latest", owner)


def _part_key(digest: str) -> Key:
    return key("mesh", str(wire.SCHEMA), "part", digest)
