"""Rounds: what may have moved, looked at in rounds, and what failed looked at again.

What may have moved is a set, so it is bounded by the objects that there are. Between two rounds
there is a pause, which makes one write of what a change does to an object in quick succession.
What failed comes again in the next round, after a growing pause; what has to wait for a reason of
its own comes again when its time has come, or it moves.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable

from libs.model.ids import Ref
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock
from libs.runtime.tasks import pause

ROUND_SECONDS = 0.25
BACKOFF = Backoff(first=0.5, limit=30.0)

Look = Callable[[Collection[Ref]], Awaitable[Collection[Ref]]]
"""Looks at objects; returns those that failed."""


class Rounds:
    """Knows what may have moved; `run` has it looked at."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._moved: dict[Ref, None] = {}
        self._later: dict[Ref, float] = {}  # monotonic
        self._wake = asyncio.Event()

    def note(self, places: Iterable[Ref]) -> None:
        """Look at objects in the next round."""
        for place in places:
            self._moved[place] = None
            self._later.pop(place, None)
            self._wake.set()

    def note_later(self, place: Ref, seconds: float) -> None:
        """Look at an object after a while, if not before."""
        self._later[place] = self._clock.monotonic() + seconds

    async def run(self, look: Look) -> None:
        """Have everything looked at that moves, until cancelled."""
        attempt = 0
        while True:
            await self._something()
            await self._clock.sleep(ROUND_SECONDS)
            self._wake.clear()
            moved, self._moved = self._moved, {}
            failed = await look(moved)
            attempt = attempt + 1 if failed else 0
            self.note(failed)
            if failed:
                await self._clock.sleep(BACKOFF.delay(attempt, chance()))

    async def _something(self) -> None:
        """Return when there is something to look at."""
        while not self._wake.is_set():
            if not self._later:
                await self._wake.wait()
                return
            first = min(self._later.values())
            await pause(max(0.0, first - self._clock.monotonic()), self._wake, self._clock)
            now = self._clock.monotonic()
            self.note([place for place, at in self._later.items() if at <= now])
