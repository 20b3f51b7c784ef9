import math
from collections.abc import Callable

import pytest

from libs.runtime.tasks import background
from services.agent.issued import Issued, IssueError
from services.agent.rotation import LONGEST_BACKOFF, Rotation, Schedule
from tests.support.clock import VirtualClock

HOUR = 3600.0


class Ca:
    """Gives certificates of a day, or fails while it is away."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.away = False
        self.asked: list[float] = []
        self.used: list[Issued] = []

    async def obtain(self) -> Issued:
        self.asked.append(self._clock.monotonic())
        if self.away:
            message = "the CA answered UNAVAILABLE"
            raise IssueError(message, attempts=6)
        now = self._clock.now()
        return Issued(
            key="K", chain="C", roots="R", not_before=now - 120, not_after=now + 24 * HOUR
        )

    def rotation(self, chance: Callable[[], float] = lambda: 0.5) -> Rotation:
        return Rotation(self.obtain, self.used.append, clock=self._clock, chance=chance)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


async def test_a_certificate_is_renewed_at_half_of_its_life(clock: VirtualClock) -> None:
    ca = Ca(clock)
    async with background(ca.rotation().run()):
        await clock.advance(36 * HOUR)
    assert ca.asked == [0.0, 12 * HOUR, 24 * HOUR, 36 * HOUR]


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 0.51), (1.0, 0.49)])
async def test_renewals_are_spread(clock: VirtualClock, chance: float, expected: float) -> None:
    ca = Ca(clock)
    async with background(ca.rotation(lambda: chance).run()):
        await clock.advance(13 * HOUR)
    assert ca.asked[1] == pytest.approx(24 * HOUR * expected)


async def test_while_the_ca_is_away_the_old_certificate_stays_and_attempts_are_spaced(
    clock: VirtualClock,
) -> None:
    ca = Ca(clock)
    rotation = ca.rotation()
    async with background(rotation.run()):
        await clock.advance(11 * HOUR)
        ca.away = True
        await clock.advance(2 * HOUR)
        assert len(ca.used) == 1
        assert rotation.remaining() == 11 * HOUR
        gaps = [b - a for a, b in zip(ca.asked[1:], ca.asked[2:], strict=False)]
        assert gaps[0] < 1.0
        assert max(gaps) <= LONGEST_BACKOFF
        ca.away = False
        await clock.advance(LONGEST_BACKOFF)
        assert len(ca.used) == 2


async def test_a_certificate_that_is_nearly_over_does_not_make_a_storm(
    clock: VirtualClock,
) -> None:
    asked = 0

    async def obtain() -> Issued:
        nonlocal asked
        asked += 1
        now = clock.now()
        return Issued(key="K", chain="C", roots="R", not_before=now - 120, not_after=now - 1)

    rotation = Rotation(obtain, lambda _: None, clock=clock)
    async with background(rotation.run()):
        await clock.advance(10.0)
    assert asked <= 11


def test_backdating_does_not_shorten_a_short_certificate() -> None:
    issued = Issued(key="K", chain="C", roots="R", not_before=880.0, not_after=1060.0)
    assert Schedule().due(issued, now=1000.0, chance=0.5) == 1030.0


def test_keys_do_not_show_themselves() -> None:
    issued = Issued(key="PRIVATE", chain="C", roots="R", not_before=0.0, not_after=1.0)
    assert "PRIVATE" not in repr(issued)


async def test_how_much_of_its_life_is_left_is_told(clock: VirtualClock) -> None:
    ca = Ca(clock)
    rotation = ca.rotation()
    assert math.isnan(rotation.life_left())
    async with background(rotation.run()):
        await clock.advance(0)
        assert rotation.life_left() == 1.0
        ca.away = True
        await clock.advance(18 * HOUR)
        assert rotation.life_left() == pytest.approx(0.25)
        await clock.advance(12 * HOUR)
        assert rotation.life_left() == pytest.approx(-0.25)
