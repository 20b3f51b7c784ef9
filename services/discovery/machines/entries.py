"""Entries: what the registrar needs of whatever keeps WorkloadEntries."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Protocol

from services.discovery.machines.place import Entry, Health, Place


class Outcome(StrEnum):
    """What became of a write."""

    WRITTEN = "written"
    OUTDATED = "outdated"  # it has changed meanwhile; what it is now will be told
    REFUSED = "refused"  # trying again soon would not help
    FAILED = "failed"


class Entries(Protocol):
    """WorkloadEntries that can be written. Iterating gives those that were registered."""

    def __iter__(self) -> Iterator[Place]:
        """Yield the places of entries that were registered by a group."""
        ...

    def get(self, place: Place) -> Entry | None:
        """Return an entry as it was last seen."""
        ...

    def count(self, namespace: str, group: str) -> int:
        """Return how many entries a group has registered."""
        ...

    async def create(self, place: Place, document: Mapping[str, object]) -> Outcome:
        """Write a new entry."""
        ...

    async def annotate(self, entry: Entry, annotations: Mapping[str, str | None]) -> Outcome:
        """Set annotations, and take those away that are None."""
        ...

    async def tell(self, entry: Entry, health: Health) -> Outcome:
        """Write the condition Healthy."""
        ...

    async def delete(self, entry: Entry) -> Outcome:
        """Remove an entry."""
        ...


def condition(entry: Entry, health: Health, time: str) -> dict[str, object]:
    """Return the condition Healthy; `time` is when the agent said so."""
    changed = entry.healthy is None or entry.healthy != health.healthy
    before = next((it for it in entry.conditions if it.get("type") == "Healthy"), {})
    return {
        "type": "Healthy",
        "status": "True" if health.healthy else "False",
        "message": health.message,
        "lastProbeTime": time,
        "lastTransitionTime": time if changed else before.get("lastTransitionTime", time),
    }
