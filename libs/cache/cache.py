"""Cache: sealed values by key, over any backend.

Nothing raises: a value that is late, broken, too large or not authentic for its key is a miss, and
one that cannot be kept is forgotten. Each outcome is told to an observer, which may count it.
What may be kept is decided by whoever calls; secrets never may.
"""

import asyncio
import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from libs.cache.backend import Backend
from libs.cache.breaker import Breaker
from libs.cache.errors import BackendError, UnreachableError, late
from libs.cache.keys import Key
from libs.runtime.backoff import chance
from libs.runtime.clock import Clock, SystemClock

logger = logging.getLogger(__name__)

OPERATION_SECONDS = 0.05
MAX_VALUE_BYTES = 8 * 1024 * 1024
SEAL_OVERHEAD = 1024


class Sealer(Protocol):
    """Makes values unreadable and unforgeable outside. Given by the service, from `libs.pki`."""

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        """Return `plain` encrypted and bound to `associated`."""
        ...

    def open(self, sealed: bytes, associated: bytes) -> bytes | None:
        """Return what was sealed for exactly `associated`, or None if this is not that."""
        ...


class Outcome(StrEnum):
    """What came of one operation."""

    HIT = "hit"
    MISS = "miss"
    STORED = "stored"
    POISONED = "poisoned"  # not sealed by us for this key
    OVERSIZE = "oversize"
    FAILED = "failed"  # no usable answer in time
    SKIPPED = "skipped"  # the breaker is open


Observer = Callable[[Outcome], None]


def ignore(_outcome: Outcome) -> None:
    """Count nothing."""


class CacheOptions(Struct, frozen=True, kw_only=True):
    """How a cache behaves. Times in seconds."""

    operation: float = OPERATION_SECONDS
    lifetime: int = 24 * 3600
    max_value: int = MAX_VALUE_BYTES


_DEFAULTS = CacheOptions()


class Cache:
    """Values that cost time when they are lost, and nothing else."""

    def __init__(
        self,
        backend: Backend,
        sealer: Sealer,
        *,
        observe: Observer = ignore,
        clock: Clock | None = None,
        options: CacheOptions = _DEFAULTS,
    ) -> None:
        self._backend = backend
        self._sealer = sealer
        self._observe = observe
        self._options = options
        self._breaker = Breaker(monotonic=(clock or SystemClock()).monotonic, chance=chance)

    async def get(self, key: Key) -> bytes | None:
        """Return the value of `key`, or None."""
        if self._breaker.open:
            self._observe(Outcome.SKIPPED)
            return None
        try:
            async with asyncio.timeout(self._options.operation):
                sealed = await self._backend.get(key.text, self._limit)
        except (BackendError, TimeoutError) as error:
            self._failed(error)
            return None
        self._answered()
        return self._unsealed(key, sealed)

    async def put(self, key: Key, value: bytes) -> bool:
        """Keep `value` under `key` for others and for later; return whether it is there now."""
        if self._breaker.open:
            self._observe(Outcome.SKIPPED)
            return False
        if len(value) > self._options.max_value:
            self._observe(Outcome.OVERSIZE)
            return False
        sealed = self._sealer.seal(value, key.associated)
        try:
            async with asyncio.timeout(self._options.operation):
                await self._backend.put(key.text, sealed, self._options.lifetime)
        except (BackendError, TimeoutError) as error:
            self._failed(error)
            return False
        self._answered()
        self._observe(Outcome.STORED)
        return True

    async def close(self) -> None:
        """Let go of the backend's connections; a backend that hangs is left alone."""
        try:
            async with asyncio.timeout(self._options.operation):
                await self._backend.close()
        except (BackendError, TimeoutError):
            logger.info("cache did not close in time")

    @property
    def _limit(self) -> int:
        return self._options.max_value + SEAL_OVERHEAD

    def _unsealed(self, key: Key, sealed: bytes | None) -> bytes | None:
        if sealed is None:
            self._observe(Outcome.MISS)
            return None
        if len(sealed) > self._limit:
            self._observe(Outcome.OVERSIZE)
            return None
        value = self._sealer.open(sealed, key.associated)
        self._observe(Outcome.POISONED if value is None else Outcome.HIT)
        return value

    def _failed(self, error: Exception) -> None:
        self._observe(Outcome.FAILED)
        if not isinstance(error, UnreachableError | TimeoutError):
            self._answered()  # it is there, only unwilling
        elif self._breaker.failed():
            reason = str(error) or late(self._options.operation)
            logger.warning("cache is away, going on without it", extra={"reason": reason})

    def _answered(self) -> None:
        if self._breaker.succeeded():
            logger.info("cache is back")
