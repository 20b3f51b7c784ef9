"""The push queue: which proxies wait for a push, and who is next.

One entry a proxy: whatever arrives while it waits is merged into it, so the queue is bounded by the
number of proxies and nothing is ever dropped. Three lanes, each in order of arrival: proxies that
have nothing yet, then endpoints, then configuration. A proxy may wait in the endpoint lane and in
the configuration lane at once: its endpoints do not wait for the rest.
"""

from enum import IntEnum

from msgspec import Struct

from libs.model.mesh import Table


class Lane(IntEnum):
    """Smaller goes first."""

    NEW = 0
    ENDPOINTS = 1
    CONFIGURATION = 2


class Entry(Struct, frozen=True, gc=False):
    """One proxy that waits. `tables` are those that changed since it was last looked at."""

    connection: int
    lane: Lane
    since: float  # monotonic seconds
    tables: frozenset[Table] = frozenset()


class PushQueue:
    """Proxies that wait, by connection number."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, dict[int, Entry]] = {lane: {} for lane in Lane}

    def __len__(self) -> int:
        return sum(len(lane) for lane in self._lanes.values())

    def add(self, entry: Entry) -> None:
        """Let a proxy wait, or merge into the place that it has."""
        if entry.connection in self._lanes[Lane.NEW]:
            return  # it will get everything
        lane = self._lanes[entry.lane]
        known = lane.get(entry.connection)
        if known is not None:
            entry = Entry(entry.connection, entry.lane, known.since, known.tables | entry.tables)
        lane[entry.connection] = entry

    def put_back(self, entries: list[Entry]) -> None:
        """Let entries that were taken wait again, in front of their lanes."""
        for lane_number, lane in self._lanes.items():
            back = [entry for entry in entries if entry.lane is lane_number]
            if back:
                later = dict(lane)
                lane.clear()
                lane.update((entry.connection, entry) for entry in back)
                for entry in later.values():
                    self.add(entry)

    def remove(self, connection: int) -> None:
        """Forget a proxy that has gone."""
        for lane in self._lanes.values():
            lane.pop(connection, None)

    def take(self, limit: int) -> list[Entry]:
        """Return at most `limit` entries of the most urgent lane in which anybody waits."""
        for lane in self._lanes.values():
            if lane:
                return [lane.pop(connection) for connection in list(lane)[:limit]]
        return []
