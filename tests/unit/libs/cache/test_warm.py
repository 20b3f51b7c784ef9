import asyncio

import pytest

from libs.cache import warm
from libs.cache.backend import MemoryBackend
from libs.cache.cache import Cache, CacheOptions
from libs.cache.errors import UnreachableError
from libs.cache.warm import MAX_AGE_SECONDS, WRITE_SECONDS, WarmMesh
from libs.model.mesh import Mesh
from libs.runtime.tasks import background
from tests.support.clock import VirtualClock
from tests.support.mesh import endpoints, mesh, service, workload
from tests.support.sealer import TaggingSealer

WEB = service("web")
WORLD = mesh(WEB, endpoints(WEB, "10.0.0.1"), workload("p"))


def _warm(backend: MemoryBackend, clock: VirtualClock) -> WarmMesh:
    cache = Cache(backend, TaggingSealer(), options=CacheOptions(operation=60.0))
    return WarmMesh(cache, clock=clock, owner="test")


async def _keep(backend: MemoryBackend, clock: VirtualClock, *meshes: Mesh) -> None:
    kept = _warm(backend, clock)
    async with background(kept.run()), asyncio.timeout(60):
        for one in meshes:
            kept.keep(one)
            await clock.until_asleep()
            await clock.advance(WRITE_SECONDS)


async def test_the_mesh_of_an_earlier_life_comes_back() -> None:
    backend, clock = MemoryBackend(), VirtualClock()
    await _keep(backend, clock, WORLD)

    found = await _warm(backend, clock).load()
    assert found is not None
    assert found.tables == WORLD.tables


async def test_the_latest_one_is_kept() -> None:
    backend, clock = MemoryBackend(), VirtualClock()
    later = mesh(service("db"), before=WORLD)
    await _keep(backend, clock, WORLD, later)

    found = await _warm(backend, clock).load()
    assert found is not None
    assert found.tables == later.tables


async def test_a_large_mesh_is_kept_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "PART_BYTES", 200)
    backend, clock = MemoryBackend(), VirtualClock()
    large = mesh(*(service(f"s{number}") for number in range(50)))
    await _keep(backend, clock, large)

    assert len(backend._values) > 10
    found = await _warm(backend, clock).load()
    assert found is not None
    assert found.tables == large.tables


async def test_a_mesh_of_which_a_part_is_lost_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(warm, "PART_BYTES", 200)
    backend, clock = MemoryBackend(), VirtualClock()
    await _keep(backend, clock, mesh(*(service(f"s{number}") for number in range(50))))
    part = next(name for name in backend._values if "part" in name)
    del backend._values[part]

    assert await _warm(backend, clock).load() is None


class _Forgetful(MemoryBackend):
    """Does not take what comes first."""

    refusals = 1

    async def put(self, key: str, value: bytes, seconds: int) -> None:
        if self.refusals:
            self.refusals -= 1
            raise UnreachableError("not now")
        await super().put(key, value, seconds)


async def test_a_mesh_that_was_not_taken_is_kept_later() -> None:
    backend, clock = _Forgetful(), VirtualClock()
    kept = _warm(backend, clock)
    async with background(kept.run()), asyncio.timeout(60):
        kept.keep(WORLD)
        await clock.until_asleep()
        assert await _warm(backend, clock).load() is None
        await clock.advance(WRITE_SECONDS)
        await clock.until_asleep()
    found = await _warm(backend, clock).load()
    assert found is not None
    assert found.tables == WORLD.tables


async def test_an_old_mesh_is_not_used() -> None:
    backend, clock = MemoryBackend(), VirtualClock()
    await _keep(backend, clock, WORLD)
    await clock.advance(MAX_AGE_SECONDS + 1)

    assert await _warm(backend, clock).load() is None


async def test_there_may_be_none() -> None:
    assert await _warm(MemoryBackend(), VirtualClock()).load() is None
