"""Watchdog: how late the event loop was, at worst.

A callback that computes for 200 ms delays every stream of the process by that much. The watchdog
asks to be woken at short intervals and measures how late it is: too low by at most one interval.
"""

import logging

from libs.runtime.clock import Clock, SystemClock

logger = logging.getLogger(__name__)

LOG_ABOVE_SECONDS = 0.1


class Watchdog:
    """Measures stalls of the event loop on which `run` runs."""

    def __init__(self, *, interval: float = 0.05, clock: Clock | None = None) -> None:
        self._interval = interval
        self._clock = clock or SystemClock()
        self.worst = 0.0
        """Seconds of the longest stall since the start or the last `reset`."""
        self.stalls = 0
        """Stalls that were long enough to be logged."""

    def reset(self) -> float:
        """Return the worst stall and start again from zero."""
        worst, self.worst = self.worst, 0.0
        return worst

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            before = self._clock.monotonic()
            await self._clock.sleep(self._interval)
            self._record(self._clock.monotonic() - before - self._interval)

    def _record(self, late: float) -> None:
        self.worst = max(self.worst, late)
        if late > LOG_ABOVE_SECONDS:
            self.stalls += 1
            logger.warning("event loop stalled", extra={"seconds": round(late, 3)})


PROCESS = Watchdog()
"""The watchdog that `libs.runtime.main` runs; metrics read it."""
