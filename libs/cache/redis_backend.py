"""Redis as a backend: short timeouts, no retries, never more bytes than asked for.

The client's own `socket_timeout` stays off: it waits with `asyncio.wait_for`, which up to Python
3.11 loses a cancellation that comes in the moment when the operation ends, and a task that was told
to stop would run on for good. Each operation stands in an `asyncio.timeout` here instead.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from libs.cache.errors import BackendError, RefusedError, UnreachableError, late
from libs.runtime.logs import words

CONNECTIONS = 8


class RedisBackend:
    """Values in one Redis database. Connects when it is first used."""

    def __init__(self, url: str, *, timeout: float) -> None:
        """Prepare for `url` (`redis://`, `rediss://`, `unix://`); `timeout` in seconds.

        Raises:
            ValueError: not such a URL.

        """
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=timeout,
            socket_timeout=None,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis: Redis = Redis(connection_pool=pool)
        self._timeout = timeout

    async def get(self, key: str, limit: int) -> bytes | None:
        """Return the value, or None; see `Backend`."""
        async with self._operation():
            # GETRANGE, so that a huge value that somebody put there costs no more than a large one.
            value = await self._redis.getrange(key, 0, limit)
        return value.encode() if isinstance(value, str) else value or None

    async def put(self, key: str, value: bytes, seconds: int) -> None:
        """Keep `value` for `seconds`; see `Backend`."""
        async with self._operation():
            await self._redis.set(key, value, ex=seconds)

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    @asynccontextmanager
    async def _operation(self) -> AsyncIterator[None]:
        """End what takes too long, and say in this library's words what went wrong."""
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError as error:
            raise UnreachableError(str(error) or late(self._timeout)) from error
        except (RedisError, OSError) as error:
            raise _translated(error) from error


def _translated(error: Exception) -> BackendError:
    if isinstance(error, RedisConnectionError | RedisTimeoutError | OSError):
        return UnreachableError(words(error))
    return RefusedError(str(error))
