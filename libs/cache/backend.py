"""Backends: where bytes lie. They are not trusted and may be lost at any time."""

from typing import Protocol


class Backend(Protocol):
    """Raw values by key."""

    async def get(self, key: str, limit: int) -> bytes | None:
        """Return the value, or None. Of a longer value only `limit` + 1 bytes are fetched.

        Raises:
            BackendError: there is no usable answer.

        """
        ...

    async def put(self, key: str, value: bytes, seconds: int) -> None:
        """Keep `value` for `seconds`, or for a shorter time.

        Raises:
            BackendError: it was not kept.

        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class MemoryBackend:
    """Values in this process: for one replica, and for tests. Overflow drops the oldest values."""

    def __init__(self, *, capacity: int = 64 * 1024 * 1024) -> None:
        self._capacity = capacity
        self._values: dict[str, bytes] = {}
        self._bytes = 0

    async def get(self, key: str, limit: int) -> bytes | None:
        """Return the value, or None; see `Backend`."""
        value = self._values.get(key)
        return None if value is None else value[: limit + 1]

    async def put(self, key: str, value: bytes, seconds: int) -> None:  # it is bounded by space
        """Keep `value` until there is no room for it."""
        self._bytes -= len(self._values.pop(key, b""))
        self._values[key] = value
        self._bytes += len(value)
        while self._bytes > self._capacity:
            oldest = next(iter(self._values))
            self._bytes -= len(self._values.pop(oldest))

    async def close(self) -> None:
        """Keep everything: there is nothing to let go of."""
