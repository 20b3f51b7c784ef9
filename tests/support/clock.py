"""VirtualClock: time that moves only when a test says so."""

import asyncio
import heapq
import itertools

SETTLE_TURNS = 25


class VirtualClock:
    """A Clock whose sleepers wake in order while `advance` moves time."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._start = start
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._fell_asleep = asyncio.Event()

    def now(self) -> float:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), future))
        self._fell_asleep.set()
        await future

    async def advance(self, seconds: float) -> None:
        """Move time on, waking each sleeper at its own moment and letting it run."""
        target = self._elapsed + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            deadline, _, future = heapq.heappop(self._sleepers)
            self._elapsed = max(self._elapsed, deadline)
            if not future.done():
                future.set_result(None)
            await settle()
        self._elapsed = target

    async def advance_to_next(self) -> float:
        """Wait until something sleeps, move to its waking, and return the seconds moved."""
        await self.until_asleep()
        seconds = max(self._next_deadline() - self._elapsed, 0.0)
        await self.advance(seconds)
        return seconds

    async def until_asleep(self) -> None:
        """Return once somebody sleeps; real input and output may go on meanwhile."""
        while self._next_deadline() == float("inf"):
            self._fell_asleep.clear()
            await self._fell_asleep.wait()

    def _next_deadline(self) -> float:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else float("inf")


async def settle() -> None:
    """Let every task that can run, run."""
    for _ in range(SETTLE_TURNS):
        await asyncio.sleep(0)
