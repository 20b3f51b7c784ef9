"""Clock: where a process gets time from, so that tests can hold it still.

Pure rooms take `now: float` as an argument; services pass a Clock down. Tests use the VirtualClock
of tests/support/clock.py.
"""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time, monotonic time and sleep."""

    def now(self) -> float:
        """Return wall time as seconds since the epoch; it may jump."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go backwards, from an arbitrary start."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; zero and less only yield."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        """Return the machine's wall time."""
        return time.time()  # noqa: TID251  # this is where time comes from

    def monotonic(self) -> float:
        """Return the machine's monotonic time."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        await asyncio.sleep(max(seconds, 0.0))
