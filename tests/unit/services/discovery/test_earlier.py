"""A mesh of an earlier life: served while the source is away, then taken back row by row."""

import asyncio

from libs.api import reasons
from libs.api.problem import Problem, Severity
from libs.cache.backend import MemoryBackend
from libs.cache.cache import Cache, CacheOptions
from libs.cache.warm import WRITE_SECONDS
from libs.model.delta import Delta
from libs.model.mesh import Key, Mesh, Table
from libs.model.settings import MeshSettings
from libs.runtime.tasks import background
from libs.translate.apply import Step, initial
from services.discovery.earlier import ATTEMPTS, RETRY_SECONDS, EarlierLife, difference
from tests.support.clock import VirtualClock
from tests.support.mesh import mesh, service
from tests.support.sealer import TaggingSealer

OLD = mesh(service("web"), service("gone"))
CHANGE = 5
NEW = mesh(service("web"), service("new"))
GONE = Key(Table.SERVICE, service("gone").key)
CAME = Key(Table.SERVICE, service("new").key)


class World:
    """A cache that outlives those who use it."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.backend = MemoryBackend()
        self.served: list[tuple[Mesh, Problem]] = []
        self.away = asyncio.Event()

    def life(self) -> EarlierLife:
        cache = Cache(self.backend, TaggingSealer(), options=CacheOptions(operation=5.0))
        return EarlierLife(cache, self.clock)

    async def keep(self, kept: Mesh) -> None:
        life = self.life()
        async with background(life.run()), asyncio.timeout(60):
            life.settle(_step(kept))
            await self.clock.until_asleep()
            await self.clock.advance(WRITE_SECONDS)

    async def fall_back(self, life: EarlierLife) -> None:
        async def away() -> None:
            await self.away.wait()

        await life.fall_back(away, lambda found, problem: self.served.append((found, problem)))


def _step(found: Mesh) -> Step:
    state = initial(MeshSettings())
    state = type(state)(mesh=found, defaults=state.defaults)
    delta = Delta(changed=frozenset({CAME}), change=CHANGE, causes=(), observed=3.0)
    return Step(state, delta, ())


async def test_what_was_kept_is_served_and_its_age_is_told() -> None:
    world = World()
    await world.keep(OLD)
    await world.clock.advance(60)
    world.away.set()
    life = world.life()
    await world.fall_back(life)
    ((served, problem),) = world.served
    assert served.tables == OLD.tables
    assert (problem.reason, problem.severity) == (reasons.EARLIER_LIFE, Severity.WARNING)
    assert "known 65 s before" in problem.text


async def test_the_first_change_is_the_difference_to_what_was_served() -> None:
    world = World()
    await world.keep(OLD)
    world.away.set()
    life = world.life()
    await world.fall_back(life)
    delta = life.settle(_step(NEW)).delta
    assert delta.removed == {GONE}
    assert delta.changed == {CAME}
    assert (delta.change, delta.observed) == (CHANGE, 3.0)
    assert life.settle(_step(NEW)).delta.removed == frozenset()  # only the first one


async def test_without_a_kept_mesh_nothing_is_served() -> None:
    world = World()
    world.away.set()
    async with background(world.fall_back(world.life())), asyncio.timeout(60):
        for _ in range(ATTEMPTS):
            await world.clock.until_asleep()
            await world.clock.advance(RETRY_SECONDS)
    assert world.served == []


async def test_a_cache_that_answers_late_is_asked_again() -> None:
    world = World()
    world.away.set()
    async with background(world.fall_back(world.life())), asyncio.timeout(60):
        await world.clock.until_asleep()
        await world.keep(OLD)
        await world.clock.advance(RETRY_SECONDS)
        while not world.served:  # what was found is decoded in a thread, and then nobody sleeps
            await world.clock.advance(RETRY_SECONDS / 100)
    assert world.served[0][0].tables == OLD.tables


async def test_a_source_that_answered_is_not_overruled() -> None:
    world = World()
    await world.keep(OLD)
    life = world.life()
    step = _step(NEW)
    assert life.settle(step) is step
    world.away.set()
    await world.fall_back(life)
    assert world.served == []


def test_equal_meshes_have_no_difference() -> None:
    assert not difference(OLD, mesh(service("web"), service("gone")), Delta())
