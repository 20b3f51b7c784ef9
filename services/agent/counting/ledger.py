"""Ledger: what each living connection has had until now, so that only what is new is added.

Entries say totals. So one that is lost costs nothing: the next makes it good. Of a connection whose
last entry is lost, what came since the one before is never counted, and its record stays.

At most MAX_CONNECTIONS have a record. When there is no room, a record is given up that nobody spoke
of for STALE_SECONDS; else the newcomer waits: it is counted when it ends, exactly and once, and
`istio_agent_tcp_connections_waiting_total` says so.
"""

from services.agent import metrics
from services.agent.counting.counters import Counters
from services.agent.counting.entries import Entry

MAX_CONNECTIONS = 65_536
STALE_SECONDS = 24 * 3600.0

_Key = tuple[tuple[int, int], str]
_Record = tuple[float, tuple[int, ...]]
"""When it was spoken of, and its totals."""


class Ledger:
    """Takes entries in, and adds what is new to counters."""

    def __init__(self, counters: Counters, limit: int = MAX_CONNECTIONS) -> None:
        self._counters = counters
        self._limit = limit
        self._living: dict[_Key, _Record] = {}  # those spoken of last come last

    def __len__(self) -> int:
        """Return how many records there are."""
        return len(self._living)

    def note(self, entry: Entry, now: float) -> None:
        """Take an entry in, at `now` seconds of monotonic time."""
        if not entry.totals:
            return
        # Metrics with different labels have entries of their own: the first name tells them apart.
        key = (entry.connection, entry.totals[0][0])
        known = self._living.pop(key, None)
        if known is None and not entry.ended and not self._room(now):
            metrics.TCP_CONNECTIONS_WAITING.inc()
            return
        before = known[1] if known else (0,) * len(entry.totals)
        for (name, total), had in zip(entry.totals, before, strict=True):
            self._counters.add(name, entry.labels, max(total - had, 0))
        if not entry.ended:
            self._living[key] = (now, tuple(total for _, total in entry.totals))

    def forget(self) -> None:
        """Drop every record: the Envoy that they are of has ended."""
        self._living.clear()

    def _room(self, now: float) -> bool:
        if len(self._living) < self._limit:
            return True
        oldest = next(iter(self._living))
        if now - self._living[oldest][0] < STALE_SECONDS:
            return False
        del self._living[oldest]
        return True
