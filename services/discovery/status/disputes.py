"""Disputes: objects whose status somebody else writes as well, and otherwise.

Two controllers that both believe a status to be theirs would write in turn as fast as their watches
tell, for ever. So what is written again, and says the same as the time before, waits: a little
longer each time, up to five minutes. From the third time on it is a dispute: the log says it once
with whoever else writes, and it counts until it is over, which is when nothing had to be written
for ten minutes, or we have something else to say.
"""

import logging

from msgspec import Struct

from libs.model.ids import Ref
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock
from services.discovery import metrics

logger = logging.getLogger(__name__)

BACKOFF = Backoff(first=1.0, limit=300.0)
TIMES = 3
"""So often the same is written again until that is a dispute."""
QUIET_SECONDS = 600.0


class _Written(Struct):
    said: object
    not_before: float  # monotonic
    again: int = 0


class Disputes:
    """Remembers what was written, for as long as the object is there."""

    def __init__(self, clock: Clock, what: str) -> None:
        """`what` is written, for the metric: `addresses` or `conditions`."""
        self._clock = clock
        self._count = metrics.STATUS_DISPUTES.labels(what)
        self._written: dict[Ref, _Written] = {}
        self._told: set[Ref] = set()

    def wait(self, place: Ref, said: object) -> float:
        """Return for how many seconds not to write `said`; 0: write."""
        known = self._written.get(place)
        if known is None or known.said != said:
            return 0.0
        return max(0.0, known.not_before - self._clock.monotonic())

    def note(self, place: Ref, said: object, others: str) -> None:
        """Take note of what is written now; `others` says who else writes there."""
        now = self._clock.monotonic()
        known = self._written.get(place)
        if known is None or known.said != said or now - known.not_before >= QUIET_SECONDS:
            self.forget(place)
            self._written[place] = _Written(said, not_before=now)
            return
        known.again += 1
        known.not_before = now + BACKOFF.delay(known.again, chance())
        if known.again >= TIMES and place not in self._told:
            self._told.add(place)
            extra = {"resource": place, "writers": others}
            logger.warning("somebody else writes this status, too", extra=extra)
        self._count.set(len(self._told))

    def remaining(self, place: Ref) -> float:
        """Return in how many seconds a dispute is over, if nothing has to be written; 0: none."""
        if place not in self._told:
            return 0.0
        over = self._written[place].not_before + QUIET_SECONDS
        left = over - self._clock.monotonic()
        if left <= 0:
            self.forget(place)
        return max(0.0, left)

    def forget(self, place: Ref) -> None:
        """Drop what is known of an object."""
        self._written.pop(place, None)
        self._told.discard(place)
        self._count.set(len(self._told))
