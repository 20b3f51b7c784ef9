"""Limits: token buckets for each identity and each address.

The buckets themselves are bounded: when there are too many, the one used longest ago is forgotten,
which only ever gives a caller a full bucket again.
"""

from collections import OrderedDict

from libs.runtime.clock import Clock

MAX_BUCKETS = 20_000


class Buckets:
    """One token bucket for each key."""

    def __init__(self, *, rate: float, burst: float, clock: Clock) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> bool:
        """Take one token from the bucket of `key`; False if it is empty."""
        now = self._clock.monotonic()
        level, since = self._levels.pop(key, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._rate)
        taken = level >= 1.0
        self._levels[key] = (level - 1.0 if taken else level, now)
        if len(self._levels) > MAX_BUCKETS:
            self._levels.popitem(last=False)
        return taken
