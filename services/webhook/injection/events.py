"""Events: what becomes of pods without their owner noticing, written where the owner looks.

A pod that is not injected runs all the same, outside of the mesh, and a controller's pods are
nobody's to see. So there is an event on what made the pod: its Deployment or CronJob, which is
asked for by what stands between. Nothing is told twice within ten minutes, and what somebody chose
is told once. An event's name says what it tells, so what several replicas and revisions tell is one
event for as long as the API server keeps it.
Events wait in a queue of 256; further ones are dropped and counted. There are at most twenty in a
second, one after another.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct, structs

from libs.inject.owner import owner_of
from libs.kube.client import Client
from libs.kube.errors import ConflictError, KubeError
from libs.runtime.clock import Clock
from services.webhook import metrics

logger = logging.getLogger(__name__)

QUEUE = 256
AGAIN_SECONDS = 600.0
REMEMBERED = 10_000
MAX_MESSAGE = 1024
MAX_NAME = 200
PAUSE_SECONDS = 0.05
COMPONENT = "seine-webhook"
NOT_INJECTED = "NotInjected"
_BETWEEN = {
    ("apps/v1", "ReplicaSet"): "/apis/apps/v1/namespaces/{}/replicasets/{}",
    ("batch/v1", "Job"): "/apis/batch/v1/namespaces/{}/jobs/{}",
}
"""What stands between a pod and what the user wrote, and where it is."""


class Regarding(Struct, frozen=True):
    """The object that an event is about."""

    kind: str
    name: str
    namespace: str
    api_version: str = "v1"
    uid: str = ""
    made_by: str = ""
    """What made it, as far as its name says that: by that it is the same as others."""

    @property
    def same(self) -> tuple[str, str]:
        """What events about it have in common with those about its like."""
        return self.namespace, self.made_by or f"{self.kind}/{self.name}"


class Notice(Struct, frozen=True):
    """One event; `warning` if nobody asked for it."""

    about: Regarding
    reason: str
    text: str
    warning: bool = True
    detail: str = ""
    """What tells it from others of its reason about the same object."""


class Events:
    """Takes notices and writes them; `run` does the work."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._queue: asyncio.Queue[Notice] = asyncio.Queue(QUEUE)
        self._told: OrderedDict[tuple[tuple[str, str], str, str], float] = OrderedDict()

    def tell(self, notice: Notice) -> bool:
        """Write a notice some time soon, unless it was written lately; False if it was dropped."""
        key = (notice.about.same, notice.reason, notice.detail)
        now = self._clock.monotonic()
        lately = key in self._told and now - self._told[key] < AGAIN_SECONDS
        if lately or (key in self._told and not notice.warning):
            return True
        try:
            self._queue.put_nowait(notice)
        except asyncio.QueueFull:
            metrics.EVENTS.labels("dropped").inc()
            return False
        self._told[key] = now
        self._told.move_to_end(key)
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return True

    async def run(self) -> None:
        """Write until cancelled. An event that is not taken is not worth another try."""
        while True:
            notice = await self._queue.get()
            try:
                metrics.EVENTS.labels(await self._write(notice)).inc()
            except KubeError as error:
                metrics.EVENTS.labels("failed").inc()
                logger.warning("event not written", extra={"reason": str(error)})
            await self._clock.sleep(PAUSE_SECONDS)

    async def _write(self, notice: Notice) -> str:
        """Write an event; returns what became of it."""
        about = await self._user_s(notice.about)
        namespace = about.namespace or "default"
        body = _event(notice, about, namespace, now=self._clock.now())
        path = f"/api/v1/namespaces/{namespace}/events"
        try:
            await self._client.request("POST", path, body=body)
        except ConflictError:
            return "known"  # another replica was first, or we before we were started again
        return "written"

    async def _user_s(self, about: Regarding) -> Regarding:
        """Return what the user wrote that led to this; the same, if that cannot be found out."""
        path = _BETWEEN.get((about.api_version, about.kind))
        if path is None:
            return about
        try:
            found = await self._client.get(path.format(about.namespace, about.name))
        except KubeError as error:
            logger.info("owner not read", extra={"owner": about.name, "reason": str(error)})
            return about
        return _controller(found["metadata"], about.namespace) or about


def owner(pod: Mapping[str, Any], namespace: str) -> Regarding:
    """Return what an event about a pod is about: its controller, or itself."""
    metadata = pod.get("metadata") or {}
    if found := _controller(metadata, namespace):
        above = owner_of(pod)
        return structs.replace(found, made_by=f"{above.kind}/{above.name}")
    name = metadata.get("name") or str(metadata.get("generateName", "")).rstrip("-")
    return Regarding("Pod", str(name), namespace, uid=str(metadata.get("uid") or ""))


def _controller(metadata: Mapping[str, Any], namespace: str) -> Regarding | None:
    for one in metadata.get("ownerReferences") or ():
        if one.get("controller"):
            return Regarding(
                kind=str(one.get("kind", "")),
                name=str(one.get("name", "")),
                namespace=namespace,
                api_version=str(one.get("apiVersion", "")),
                uid=str(one.get("uid", "")),
            )
    return None


def _name(notice: Notice, about: Regarding) -> str:
    """Return the name of the one event that tells this."""
    told = (about.kind, about.namespace, about.name, about.uid, notice.reason, notice.detail)
    digest = hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]
    return f"{about.name[:MAX_NAME].rstrip('.-') or 'pod'}.{digest}"


def _event(notice: Notice, about: Regarding, namespace: str, *, now: float) -> dict[str, Any]:
    involved = {
        "kind": about.kind,
        "name": about.name,
        "namespace": about.namespace,
        "apiVersion": about.api_version,
        "uid": about.uid,
    }
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": _name(notice, about), "namespace": namespace},
        "involvedObject": {key: value for key, value in involved.items() if value},
        "reason": notice.reason,
        "message": notice.text[:MAX_MESSAGE],
        "type": "Warning" if notice.warning else "Normal",
        "source": {"component": COMPONENT},
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
