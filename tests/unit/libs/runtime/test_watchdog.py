import logging

import pytest

from libs.runtime.tasks import background
from libs.runtime.watchdog import Watchdog
from tests.support.clock import VirtualClock


class LateClock(VirtualClock):
    """Wakes sleepers later than they asked."""

    late = 0.0

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds + self.late)


async def test_the_worst_stall_is_kept_until_it_is_read(caplog: pytest.LogCaptureFixture) -> None:
    clock = LateClock()
    watchdog = Watchdog(interval=0.05, clock=clock)
    with caplog.at_level(logging.WARNING):
        async with background(watchdog.run()):
            await clock.advance(1.0)
            assert watchdog.worst == pytest.approx(0.0)
            clock.late = 0.25
            await clock.advance(1.0)
            clock.late = 0.0
            await clock.advance(1.0)
    assert watchdog.stalls == len(caplog.records)
    assert watchdog.reset() == pytest.approx(0.25)
    assert watchdog.worst == 0.0
    assert {record.message for record in caplog.records} == {"event loop stalled"}
