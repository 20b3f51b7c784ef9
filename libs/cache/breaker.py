"""Breaker: after several failures in a row, stop asking for a while, then let one call try.

The pause doubles with each failed trial. Time and chance enter as arguments.
"""

from collections.abc import Callable

from libs.runtime.backoff import Backoff

FAILURES_TO_OPEN = 3
PAUSES = Backoff(first=1.0, limit=30.0)


class Breaker:
    """Whether a backend is worth asking."""

    def __init__(self, *, monotonic: Callable[[], float], chance: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._chance = chance
        self._failures = 0
        self._trials = 0
        self._closed_at = 0.0

    @property
    def open(self) -> bool:
        """True while nobody should ask."""
        return self._failures >= FAILURES_TO_OPEN and self._monotonic() < self._closed_at

    def succeeded(self) -> bool:
        """Record an answer; True if the breaker was not closed before."""
        recovered = self._failures >= FAILURES_TO_OPEN
        self._failures = 0
        self._trials = 0
        return recovered

    def failed(self) -> bool:
        """Record that no answer came; True if this is what opened the breaker."""
        self._failures += 1
        if self._failures < FAILURES_TO_OPEN:
            return False
        pause = PAUSES.delay(self._trials, self._chance())
        self._closed_at = self._monotonic() + pause
        self._trials += 1
        return self._failures == FAILURES_TO_OPEN
