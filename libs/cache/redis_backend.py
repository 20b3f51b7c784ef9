"""Redis as a backend: short timeouts, no retries, never more bytes than asked for."""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from libs.cache.errors import BackendError, RefusedError, UnreachableError

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
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis: Redis = Redis(connection_pool=pool)

    async def get(self, key: str, limit: int) -> bytes | None:
        """Return the value, or None; see `Backend`."""
        try:
            # GETRANGE, so that a huge value that somebody put there costs no more than a large one.
            value = await self._redis.getrange(key, 0, limit)
        except (RedisError, OSError) as error:
            raise _translated(error) from error
        return value.encode() if isinstance(value, str) else value or None

    async def put(self, key: str, value: bytes, seconds: int) -> None:
        """Keep `value` for `seconds`; see `Backend`."""
        try:
            await self._redis.set(key, value, ex=seconds)
        except (RedisError, OSError) as error:
            raise _translated(error) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()


def _translated(error: Exception) -> BackendError:
    if isinstance(error, RedisConnectionError | RedisTimeoutError | OSError):
        return UnreachableError(str(error))
    return RefusedError(str(error))
