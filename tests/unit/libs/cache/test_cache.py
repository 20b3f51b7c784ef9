"""One contract for both backends: a value is what was put for exactly that key, or it is a miss."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.cache.backend import Backend, MemoryBackend
from libs.cache.cache import Cache, CacheOptions, Outcome
from libs.cache.keys import key
from libs.cache.redis_backend import RedisBackend
from tests.support.clock import VirtualClock
from tests.support.redis_server import RedisServer, running
from tests.support.sealer import TAG_BYTES, TaggingSealer, TrustingSealer

OURS = key("class", "type", "digest-a")
THEIRS = key("class", "type", "digest-b")
PATIENT = CacheOptions(operation=60.0)
SMALL = CacheOptions(max_value=1000, operation=60.0)


@pytest.fixture(params=["memory", "redis"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    if request.param == "memory":
        yield MemoryBackend()
        return
    async with running(tmp_path) as server:
        redis = RedisBackend(server.url, timeout=60.0)
        yield redis
        await redis.close()


@pytest.fixture
def outcomes() -> list[Outcome]:
    return []


@pytest.fixture
def cache(backend: Backend, outcomes: list[Outcome]) -> Cache:
    return Cache(backend, TaggingSealer(), observe=outcomes.append, options=SMALL)


async def test_gives_back_what_was_put(cache: Cache, outcomes: list[Outcome]) -> None:
    await cache.put(OURS, b"value")

    assert await cache.get(OURS) == b"value"
    assert outcomes == [Outcome.STORED, Outcome.HIT]


async def test_what_was_never_put_is_a_miss(cache: Cache, outcomes: list[Outcome]) -> None:
    assert await cache.get(OURS) is None
    assert outcomes == [Outcome.MISS]


@pytest.mark.parametrize("position", [0, TAG_BYTES, -1])
async def test_a_flipped_bit_is_a_miss(
    cache: Cache, backend: Backend, outcomes: list[Outcome], position: int
) -> None:
    await cache.put(OURS, b"value")
    sealed = bytearray(await backend.get(OURS.text, 2000) or b"")
    sealed[position] ^= 1
    await backend.put(OURS.text, bytes(sealed), 60)

    assert await cache.get(OURS) is None
    assert outcomes[-1] is Outcome.POISONED


async def test_a_value_of_another_scope_is_a_miss(
    cache: Cache, backend: Backend, outcomes: list[Outcome]
) -> None:
    await cache.put(THEIRS, b"not for you")
    await backend.put(OURS.text, await backend.get(THEIRS.text, 2000) or b"", 60)

    assert await cache.get(OURS) is None
    assert outcomes[-1] is Outcome.POISONED


async def test_without_a_seal_the_swapped_value_would_be_served(backend: Backend) -> None:
    believing = Cache(backend, TrustingSealer(), options=SMALL)
    await believing.put(THEIRS, b"not for you")
    await backend.put(OURS.text, await backend.get(THEIRS.text, 2000) or b"", 60)

    assert await believing.get(OURS) == b"not for you"


async def test_a_value_sealed_by_somebody_else_is_a_miss(cache: Cache, backend: Backend) -> None:
    stranger = Cache(backend, TaggingSealer(b"other"), options=SMALL)
    await stranger.put(OURS, b"forged")

    assert await cache.get(OURS) is None


async def test_a_huge_value_is_a_miss(
    cache: Cache, backend: Backend, outcomes: list[Outcome]
) -> None:
    await backend.put(OURS.text, bytes(20 * 1024 * 1024), 60)

    assert await cache.get(OURS) is None
    assert outcomes[-1] is Outcome.OVERSIZE


async def test_a_task_that_is_told_to_stop_stops_whatever_it_waits_for(backend: Backend) -> None:
    """The client's own timeout lost one cancellation in seven, and the task waited for good."""

    async def work() -> None:
        await backend.put(OURS.text, b"value", 60)
        await backend.get(OURS.text, 2000)
        await asyncio.Event().wait()

    await backend.put(OURS.text, b"value", 60)
    for turns in range(40):
        for _ in range(5):
            task = asyncio.create_task(work())  # noqa: TID251 - what a group does is its last word
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_too_large_a_value_is_not_kept(cache: Cache, outcomes: list[Outcome]) -> None:
    await cache.put(OURS, bytes(1001))

    assert outcomes == [Outcome.OVERSIZE]
    assert await cache.get(OURS) is None


async def test_memory_forgets_the_oldest_when_it_is_full() -> None:
    memory = MemoryBackend(capacity=10)
    await memory.put("a", b"12345", 60)
    await memory.put("b", b"12345", 60)
    await memory.put("c", b"12345", 60)

    assert [await memory.get(name, 100) for name in "abc"] == [None, b"12345", b"12345"]


async def test_a_value_of_another_redis_type_is_a_miss(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        backend = RedisBackend(server.url, timeout=60.0)
        await backend._redis.lpush(OURS.text, b"x")
        outcomes: list[Outcome] = []
        cache = Cache(backend, TaggingSealer(), observe=outcomes.append, options=PATIENT)

        assert await cache.get(OURS) is None
        assert outcomes == [Outcome.FAILED]
        await cache.close()


async def _asked(cache: Cache, outcomes: list[Outcome]) -> Outcome:
    await cache.get(OURS)
    return outcomes[-1]


async def test_a_redis_that_hangs_costs_three_timeouts_and_then_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        clock = VirtualClock()
        outcomes: list[Outcome] = []
        patient = Cache(RedisBackend(server.url, timeout=60.0), TaggingSealer(), options=PATIENT)
        cache = Cache(
            RedisBackend(server.url, timeout=1.0),
            TaggingSealer(),
            observe=outcomes.append,
            clock=clock,
            options=CacheOptions(operation=1.0),
        )
        await patient.put(OURS, b"value")
        server.hang()
        try:
            answers = [await _asked(cache, outcomes) for _ in range(5)]
        finally:
            server.resume()
        assert answers == [Outcome.FAILED] * 3 + [Outcome.SKIPPED] * 2

        await clock.advance(2.0)
        assert await patient.get(OURS) == b"value"
        assert await cache.get(OURS) == b"value"
        await cache.close()
        await patient.close()


@pytest.mark.parametrize("whose", ["the cache's", "the backend's"])
async def test_a_redis_that_hangs_is_said_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, whose: str
) -> None:
    async with running(tmp_path) as server:
        soon, late = 0.2, 60.0
        backend = RedisBackend(server.url, timeout=late if whose == "the cache's" else soon)
        options = CacheOptions(operation=soon if whose == "the cache's" else late)
        cache = Cache(backend, TaggingSealer(), clock=VirtualClock(), options=options)
        server.hang()
        try:
            for _ in range(3):
                assert await cache.get(OURS) is None
        finally:
            server.resume()
            await cache.close()

    (said,) = [it for it in caplog.records if "away" in it.getMessage()]
    assert vars(said)["reason"] == "no answer within 0.2 s"


async def test_a_redis_that_dies_and_returns_costs_only_time(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    await server.start()
    clock = VirtualClock()
    outcomes: list[Outcome] = []
    cache = Cache(
        RedisBackend(server.url, timeout=60.0),
        TaggingSealer(),
        observe=outcomes.append,
        clock=clock,
        options=PATIENT,
    )
    await cache.put(OURS, b"value")
    await server.stop()
    assert [await _asked(cache, outcomes) for _ in range(4)] == [
        *[Outcome.FAILED] * 3,
        Outcome.SKIPPED,
    ]

    await server.start()
    await clock.advance(2.0)
    assert await cache.get(OURS) is None
    await cache.put(OURS, b"again")
    assert await cache.get(OURS) == b"again"
    await cache.close()
    await server.stop()
