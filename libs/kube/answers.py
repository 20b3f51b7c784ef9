"""Answers: what the API server said lately, so that it is not asked the same thing at once again.

At most `size` answers are kept; the one used longest ago goes first, which only costs a question.
At most `waiting` questions are open; overflow: BusyError, which callers pass on as "later", counted
by them. Questions with one key wait for each other, so a crowd of equal ones is asked once. Errors
are not kept. How long an answer is good is said by whoever asks.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from libs.kube.errors import BusyError
from libs.runtime.clock import Clock

T = TypeVar("T")


class Answers(Generic[T]):
    """Answers by key, each good until a moment of the monotonic clock."""

    def __init__(self, clock: Clock, *, size: int, waiting: int) -> None:
        self._clock = clock
        self._size = size
        self._most = waiting
        self._kept: OrderedDict[Hashable, tuple[T, float]] = OrderedDict()
        self._asking: dict[Hashable, tuple[asyncio.Lock, int]] = {}
        self._open = 0

    def __len__(self) -> int:
        """Return how many answers are kept."""
        return len(self._kept)

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[tuple[T, float]]]) -> T:
        """Return the answer to `key`; `ask` returns a new one and for how many seconds it is good.

        Raises:
            BusyError: too many questions are open.
            Exception: whatever `ask` raises.

        """
        kept = self._good(key)
        if kept is not None:
            return kept[0]
        async with self._turn(key):
            kept = self._good(key)
            if kept is None:
                answer, seconds = await ask()
                self._keep(key, answer, seconds)
                return answer
            return kept[0]

    def _good(self, key: Hashable) -> tuple[T, float] | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept[1] <= self._clock.monotonic():
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return kept

    def _keep(self, key: Hashable, answer: T, seconds: float) -> None:
        if seconds <= 0:
            return
        self._kept[key] = (answer, self._clock.monotonic() + seconds)
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)

    @asynccontextmanager
    async def _turn(self, key: Hashable) -> AsyncIterator[None]:
        if self._open >= self._most:
            raise BusyError(429, "TooManyRequests", "too many questions wait for the API server")
        self._open += 1
        lock, users = self._asking.get(key) or (asyncio.Lock(), 0)
        self._asking[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            self._open -= 1
            lock, users = self._asking.pop(key)
            if users > 1:
                self._asking[key] = (lock, users - 1)
