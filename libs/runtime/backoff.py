"""Backoff: how long to wait before the next attempt, growing and jittered.

Randomness enters as an argument (a number in [0, 1)), so that tests know the delay to the digit.
"""

import random

from msgspec import Struct


class Backoff(Struct, frozen=True):
    """Exponential growth, the upper half jittered: attempt 0 waits `first`/2 to `first` seconds."""

    first: float = 0.5
    factor: float = 2.0
    limit: float = 30.0

    def delay(self, attempt: int, chance: float) -> float:
        """Return seconds to wait after failed attempt `attempt` (from 0), `chance` in [0, 1)."""
        exponent = min(attempt, 64)  # beyond that the limit has long been reached
        ceiling = min(self.limit, self.first * self.factor**exponent)
        return ceiling * (0.5 + 0.5 * chance)


def chance() -> float:
    """Return a number in [0, 1) for jitter; not for anything secret."""
    return random.random()  # noqa: S311  # spreads load, guards nothing
