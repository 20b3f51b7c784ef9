"""Rounds look at what moved, again at what failed, and later at what has to wait."""

from collections.abc import AsyncIterator, Collection

import pytest

from libs.model.ids import Ref
from libs.runtime.tasks import background
from services.discovery.status.rounds import BACKOFF, ROUND_SECONDS, Rounds
from tests.support.clock import VirtualClock

A, B = Ref("Ingress/shop/a"), Ref("Ingress/shop/b")
ROUND = ROUND_SECONDS + 0.01


class World:
    """What was looked at, round by round; what is in `bad` fails."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.rounds = Rounds(self.clock)
        self.looked: list[list[Ref]] = []
        self.bad: set[Ref] = set()

    async def look(self, moved: Collection[Ref]) -> list[Ref]:
        self.looked.append(list(moved))
        return [one for one in moved if one in self.bad]


@pytest.fixture(name="world")
async def running_world() -> AsyncIterator[World]:
    world = World()
    async with background(world.rounds.run(world.look)):
        yield world


async def test_what_moves_several_times_is_looked_at_once(world: World) -> None:
    for _ in range(3):
        world.rounds.note([A])
    world.rounds.note([B])
    await world.clock.advance(ROUND)
    assert world.looked == [[A, B]]
    await world.clock.advance(60.0)
    assert len(world.looked) == 1


async def test_what_failed_comes_again_ever_more_seldom(world: World) -> None:
    world.bad = {A}
    world.rounds.note([A, B])
    await world.clock.advance(600.0)
    assert world.looked[0] == [A, B]
    assert all(one == [A] for one in world.looked[1:])
    assert 600.0 / (BACKOFF.limit + ROUND) < len(world.looked) < 600.0 / BACKOFF.limit * 2 + 10
    world.bad.clear()
    await world.clock.advance(2 * BACKOFF.limit)
    before = len(world.looked)
    await world.clock.advance(600.0)
    assert len(world.looked) == before


async def test_what_has_to_wait_comes_when_its_time_has_come_or_it_moves(world: World) -> None:
    world.rounds.note_later(A, 20.0)
    world.rounds.note_later(B, 10.0)
    world.rounds.note([Ref("other")])
    await world.clock.advance(5.0)
    assert world.looked == [[Ref("other")]]
    world.rounds.note([A])
    await world.clock.advance(ROUND)
    assert world.looked[1:] == [[A]]
    await world.clock.advance(5.0 + ROUND)
    assert world.looked[2:] == [[B]]
    await world.clock.advance(60.0)
    assert len(world.looked) == 3
