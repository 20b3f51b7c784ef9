"""Folder: where configuration comes from a folder of manifests, entries are kept here in memory.

They reach the mesh as other configuration does, and end with this process: after a restart machines
are registered anew, as soon as config-push has said who is connected. What a manifest writes under
the name of a machine stays.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from libs.api.check import check_raw
from libs.api.networking.workload_entry import WorkloadEntry
from libs.api.resource import Resource
from libs.model.ids import Ref, ref
from libs.runtime.clock import Clock
from libs.translate.apply import Event, Remove, Upsert
from libs.translate.machine_groups import (
    CONNECTED_AT,
    CONTROLLER,
    DISCONNECTED_AT,
    GROUP,
    HEALTH_CHECKS,
    HEALTHY,
)
from services.discovery.machines.entries import Outcome, condition
from services.discovery.machines.place import Entry, Health, Place
from services.discovery.machines.plan import timestamp

Document = dict[str, Any]


class FolderEntries:
    """The entries that were registered in this process."""

    def __init__(self, emit: Callable[[Event], None], clock: Clock) -> None:
        self._emit = emit
        self._clock = clock
        self.seen: Callable[[Place], None] = lambda _: None
        """Is told of each entry that has changed."""
        self._documents: dict[Place, Document] = {}
        self._written: Mapping[Ref, Resource] = {}

    def __iter__(self) -> Iterator[Place]:
        return iter(list(self._documents))

    def use(self, resources: Mapping[Ref, Resource]) -> None:
        """Let `resources` be the WorkloadEntries that there are, those of manifests among them."""
        self._written = resources

    def get(self, place: Place) -> Entry | None:
        """Return an entry."""
        document = self._documents.get(place)
        if document is not None:
            return _entry(place, document)
        found = self._written.get(ref("WorkloadEntry", *place))
        if not isinstance(found, WorkloadEntry) or GROUP in found.metadata.annotations:
            return None  # nobody's, or one of ours that is on its way out
        return Entry(place=place, account=found.spec.service_account or "default")

    def count(self, namespace: str, group: str) -> int:
        """Return how many entries a group has registered."""
        found = (_entry(place, it) for place, it in self._documents.items())
        return sum((it.place.namespace, it.group) == (namespace, group) for it in found)

    async def create(self, place: Place, document: Mapping[str, object]) -> Outcome:
        """Write a new entry."""
        return self._put(place, {**document})

    async def annotate(self, entry: Entry, annotations: Mapping[str, str | None]) -> Outcome:
        """Set annotations, and take those away that are None."""
        document = self._documents[entry.place]
        merged = document["metadata"]["annotations"] | annotations
        kept = {name: value for name, value in merged.items() if value is not None}
        metadata = {**document["metadata"], "annotations": kept}
        return self._put(entry.place, {**document, "metadata": metadata})

    async def tell(self, entry: Entry, health: Health) -> Outcome:
        """Write the condition Healthy."""
        wanted = condition(entry, health, timestamp(health.observed))
        status = {"conditions": [wanted]}
        return self._put(entry.place, {**self._documents[entry.place], "status": status})

    async def delete(self, entry: Entry) -> Outcome:
        """Remove an entry."""
        del self._documents[entry.place]
        self._emit(Remove(ref("WorkloadEntry", *entry.place), self._clock.now()))
        self.seen(entry.place)
        return Outcome.WRITTEN

    def _put(self, place: Place, document: Document) -> Outcome:
        resource, _ = check_raw(document)
        if resource is None:
            return Outcome.REFUSED
        self._documents[place] = document
        self._emit(Upsert(resource, self._clock.now()))
        self.seen(place)
        return Outcome.WRITTEN


def _entry(place: Place, document: Document) -> Entry:
    said: dict[str, str] = document["metadata"]["annotations"]
    conditions = tuple(document.get("status", {}).get("conditions", ()))
    health = next((it for it in conditions if it["type"] == HEALTHY), None)
    return Entry(
        place=place,
        group=said[GROUP],
        account=document["spec"].get("serviceAccount", "default"),
        controller=said.get(CONTROLLER, ""),
        connected_at=said.get(CONNECTED_AT, ""),
        disconnected_at=said.get(DISCONNECTED_AT, ""),
        checked=HEALTH_CHECKS in said,
        healthy=None if health is None else health["status"] == "True",
        message=health["message"] if health else "",
        conditions=conditions,
    )
