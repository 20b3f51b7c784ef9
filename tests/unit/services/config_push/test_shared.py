"""Sets in the shared cache: what comes back is what was put for exactly that class, or nothing."""

import asyncio

from libs.cache.backend import MemoryBackend
from libs.cache.cache import Cache, CacheOptions
from libs.runtime.tasks import background
from libs.xds.types import CLUSTER, ENDPOINT, SECRET
from services.config_push import stored
from services.config_push.classes import SetKey
from services.config_push.shared import MAX_WRITES, SharedSets
from tests.support.clock import settle
from tests.support.sealer import TaggingSealer
from tests.support.snapshots import of_type

OURS = SetKey(CLUSTER, "outbound", "inbound-a")
THEIRS = SetKey(CLUSTER, "outbound", "inbound-b")
MADE = of_type(CLUSTER, web="1", db="2")


class Counting(MemoryBackend):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    async def put(self, key: str, value: bytes, seconds: int) -> None:
        self.written.append(key)
        await super().put(key, value, seconds)


class Hanging(MemoryBackend):
    async def get(self, key: str, limit: int) -> bytes | None:
        await asyncio.Event().wait()
        raise AssertionError


def _sets(backend: MemoryBackend, form: str = "form", operation: float = 60.0) -> SharedSets:
    options = CacheOptions(operation=operation)
    return SharedSets(Cache(backend, TaggingSealer(), options=options), form)


async def _written(sets: SharedSets, backend: Counting, count: int) -> None:
    async with background(sets.run()), asyncio.timeout(60):
        while len(backend.written) < count:
            await settle()


async def test_another_replica_finds_what_one_has_generated() -> None:
    backend = Counting()
    sets = _sets(backend)
    sets.offer([(OURS, MADE)])
    await _written(sets, backend, 1)

    ((key, body),) = await _sets(backend).fetch([OURS, THEIRS])
    found = stored.decode(CLUSTER, body)
    assert key == OURS
    assert found == MADE


async def test_replicas_of_another_build_share_nothing() -> None:
    backend = Counting()
    sets = _sets(backend, "older")
    sets.offer([(OURS, MADE)])
    await _written(sets, backend, 1)

    assert await _sets(backend, "newer").fetch([OURS]) == []


async def test_secrets_and_endpoints_are_never_written() -> None:
    backend = Counting()
    sets = _sets(backend)
    sets.offer(
        [
            (SetKey(SECRET, "o", "i"), of_type(SECRET, default="key")),
            (SetKey(ENDPOINT, "o", "i"), of_type(ENDPOINT, web="1")),
            (OURS, MADE),
        ]
    )
    await _written(sets, backend, 1)

    assert len(backend.written) == 1
    assert CLUSTER in backend.written[0]


async def test_a_cache_that_hangs_costs_a_tenth_of_a_second_for_any_number_of_sets() -> None:
    sets = _sets(Hanging(), operation=0.05)
    started = asyncio.get_running_loop().time()

    assert await sets.fetch([SetKey(CLUSTER, "o", str(number)) for number in range(1000)]) == []
    assert asyncio.get_running_loop().time() - started < 20  # one after another: 50


def test_what_waits_to_be_written_is_bounded() -> None:
    sets = _sets(Counting())
    sets.offer([(SetKey(CLUSTER, "o", str(number)), MADE) for number in range(MAX_WRITES + 5)])

    assert len(sets._writes) == MAX_WRITES
    assert sets._writes[0][0].inbound == "5"


def test_the_form_names_the_code_and_stays_the_same() -> None:
    assert stored.form() == stored.form()
    assert len(stored.form()) == 32
