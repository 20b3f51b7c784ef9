import asyncio

from libs.runtime.clock import Clock, SystemClock
from libs.runtime.tasks import background
from tests.support.clock import VirtualClock


async def test_virtual_sleepers_wake_in_order_at_their_own_time() -> None:
    clock = VirtualClock(start=100.0)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.now()))

    async with background(sleeper("late", 5.0), sleeper("early", 2.0), sleeper("never", 60.0)):
        await clock.advance(10.0)
    assert woken == [("early", 102.0), ("late", 105.0)]
    assert clock.now() == 110.0


async def test_advance_to_next_tells_how_far() -> None:
    clock = VirtualClock()

    async def sleeper() -> None:
        await clock.sleep(7.5)

    async with background(sleeper()):
        assert await clock.advance_to_next() == 7.5


async def test_the_system_clock_is_a_clock() -> None:
    clock: Clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(-1.0)
    await asyncio.sleep(0)
    assert clock.monotonic() >= before
    assert clock.now() > 1_700_000_000
