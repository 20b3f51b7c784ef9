"""Connections: every stream that is open, by number.

A number is never used twice, and no stream is found by what a proxy says of itself: a second stream
with the same node id stands beside the first.
"""

from collections.abc import Iterator

from services.config_push.connection import Connection


class Connections:
    """The open streams."""

    def __init__(self) -> None:
        self._open: dict[int, Connection] = {}
        self._last = 0

    @property
    def last(self) -> int:
        """The latest number of a stream, 0 if there has been none."""
        return self._last

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._open.values()))

    def __contains__(self, number: object) -> bool:
        return number in self._open

    def __getitem__(self, number: int) -> Connection:
        return self._open[number]

    def get(self, number: int) -> Connection | None:
        """Return a stream, or None if it has ended."""
        return self._open.get(number)

    def next_number(self) -> int:
        """Return a number for a new stream."""
        self._last += 1
        return self._last

    def add(self, connection: Connection) -> None:
        """Count a stream as open."""
        self._open[connection.number] = connection

    def remove(self, connection: Connection) -> None:
        """Forget a stream."""
        self._open.pop(connection.number, None)

    def of_proxy(self, proxy_id: str) -> list[Connection]:
        """Return the streams of a proxy, `<pod>.<namespace>`, newest last."""
        return [one for one in self._open.values() if one.proxy_id == proxy_id]
