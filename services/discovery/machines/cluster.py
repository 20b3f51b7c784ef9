"""Cluster: WorkloadEntries at an API server, as its watch tells them.

Every write names the version that it is made from; what has changed meanwhile is told by the watch.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from libs.api.registry import Kind
from libs.kube.client import JSON, Client
from libs.kube.errors import ConflictError, ForbiddenError, InvalidError, KubeError, NotFoundError
from libs.kube.follow import Change
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

logger = logging.getLogger(__name__)

KIND = "WorkloadEntry"
FOLDER = "/apis/networking.istio.io/v1/namespaces/{}/workloadentries"
MERGE_PATCH = "application/merge-patch+json"


class _Metadata(Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    annotations: dict[str, str] = {}


class _Spec(Struct, frozen=True, rename="camel"):
    service_account: str = ""


class _Status(Struct, frozen=True):
    conditions: tuple[dict[str, Any], ...] | None = None


class _Object(Struct, frozen=True):
    metadata: _Metadata = _Metadata()
    spec: _Spec = _Spec()
    status: _Status | None = None


_DECODER = msgspec.json.Decoder(_Object)


class ClusterEntries:
    """The entries of a cluster."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.seen: Callable[[Place], None] = lambda _: None
        """Is told of each entry that has changed."""
        self._known: dict[Place, Entry] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def __iter__(self) -> Iterator[Place]:
        return iter([place for place, entry in self._known.items() if entry.group])

    def get(self, place: Place) -> Entry | None:
        """Return an entry as it was last seen."""
        return self._known.get(place)

    def count(self, namespace: str, group: str) -> int:
        """Return how many entries a group has registered."""
        return self._counts[namespace, group]

    def take(self, kind: Kind, changes: Sequence[Change]) -> None:
        """Take note of objects of a kind."""
        if kind.name != KIND:
            return
        for change in changes:
            place = Place(change.name.namespace, change.name.name)
            before = self._known.pop(place, None)
            after = _read(place, change.raw) if change.raw is not None else None
            if after is not None:
                self._known[place] = after
            for entry, number in ((before, -1), (after, 1)):
                if entry is not None and entry.group:
                    self._counts[place.namespace, entry.group] += number
            if before or (after and after.group):
                self.seen(place)

    async def create(self, place: Place, document: Mapping[str, object]) -> Outcome:
        """Write a new entry."""
        return await self._made(place, self._request("POST", _folder(place), body=document))

    async def annotate(self, entry: Entry, annotations: Mapping[str, str | None]) -> Outcome:
        """Set annotations, and take those away that are None."""
        body = {"metadata": {"resourceVersion": entry.version, "annotations": dict(annotations)}}
        path = f"{_folder(entry.place)}/{entry.place.name}"
        return await self._made(entry.place, self._request("PATCH", path, MERGE_PATCH, body=body))

    async def tell(self, entry: Entry, health: Health) -> Outcome:
        """Write the condition Healthy."""
        others = [it for it in entry.conditions if it.get("type") != HEALTHY]
        wanted = condition(entry, health, timestamp(health.observed))
        body = {
            "metadata": {"resourceVersion": entry.version},
            "status": {"conditions": [*others, wanted]},
        }
        path = f"{_folder(entry.place)}/{entry.place.name}/status"
        return await self._made(entry.place, self._request("PATCH", path, MERGE_PATCH, body=body))

    async def delete(self, entry: Entry) -> Outcome:
        """Remove an entry."""
        body = {"preconditions": {"resourceVersion": entry.version}}
        path = f"{_folder(entry.place)}/{entry.place.name}"
        return await self._made(entry.place, self._request("DELETE", path, body=body))

    async def _request(
        self, method: str, path: str, content_type: str = JSON, *, body: object
    ) -> None:
        await self._client.request(method, path, body=body, content_type=content_type)

    async def _made(self, place: Place, writing: Awaitable[None]) -> Outcome:
        try:
            await writing
        except (ConflictError, NotFoundError):
            return Outcome.OUTDATED
        except (ForbiddenError, InvalidError) as error:
            outcome, reason = Outcome.REFUSED, str(error)
        except KubeError as error:
            outcome, reason = Outcome.FAILED, str(error)
        else:
            return Outcome.WRITTEN
        extra = {"entry": "/".join(place), "outcome": outcome, "reason": reason}
        logger.warning("workload entry not written", extra=extra)
        return outcome


def _folder(place: Place) -> str:
    return FOLDER.format(place.namespace)


def _read(place: Place, raw: Raw) -> Entry | None:
    """Return an entry; one without anything of ours if it cannot be read."""
    try:
        found = _DECODER.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return Entry(place=place)
    said = found.metadata.annotations
    conditions = (found.status and found.status.conditions) or ()
    health = next((it for it in conditions if it.get("type") == HEALTHY), None)
    return Entry(
        place=place,
        group=said.get(GROUP, ""),
        account=found.spec.service_account or "default",
        controller=said.get(CONTROLLER, ""),
        connected_at=said.get(CONNECTED_AT, ""),
        disconnected_at=said.get(DISCONNECTED_AT, ""),
        checked=HEALTH_CHECKS in said,
        healthy=None if health is None else health.get("status") == "True",
        message=str(health.get("message", "")) if health else "",
        version=found.metadata.resource_version,
        conditions=conditions,
    )
