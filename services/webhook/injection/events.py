"""Events: what becomes of pods without their owner noticing, written where the owner looks.

A pod that is not injected runs all the same, outside of the mesh, and a controller's pods are
nobody's to see. So there is an event on what made the pod, once in ten minutes for the same reason.
Events wait in a queue of 256; further ones are dropped and counted.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from libs.kube.client import Client
from libs.kube.errors import KubeError
from libs.runtime.clock import Clock
from services.webhook import metrics

logger = logging.getLogger(__name__)

QUEUE = 256
AGAIN_SECONDS = 600.0
REMEMBERED = 10_000
MAX_MESSAGE = 1024
COMPONENT = "seine-webhook"


class Regarding(Struct, frozen=True):
    """The object that an event is about."""

    kind: str
    name: str
    namespace: str
    api_version: str = "v1"
    uid: str = ""


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
        self._told: OrderedDict[tuple[Regarding, str, str], float] = OrderedDict()

    def tell(self, notice: Notice) -> None:
        """Write a notice some time soon, unless it was written lately."""
        key = (notice.about, notice.reason, notice.detail)
        now = self._clock.monotonic()
        if key in self._told and now - self._told[key] < AGAIN_SECONDS:
            return
        try:
            self._queue.put_nowait(notice)
        except asyncio.QueueFull:
            metrics.EVENTS.labels("dropped").inc()
            return
        self._told[key] = now
        self._told.move_to_end(key)
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)

    async def run(self) -> None:
        """Write until cancelled. An event that is not taken is not worth another try."""
        while True:
            notice = await self._queue.get()
            namespace = notice.about.namespace or "default"
            body = _event(notice, namespace, self._clock.now())
            try:
                await self._client.request(
                    "POST", f"/api/v1/namespaces/{namespace}/events", body=body
                )
            except KubeError as error:
                metrics.EVENTS.labels("failed").inc()
                logger.warning("event not written", extra={"reason": str(error)})
            else:
                metrics.EVENTS.labels("written").inc()


def owner(pod: Mapping[str, Any], namespace: str) -> Regarding:
    """Return what an event about a pod that is being created is about: its controller or itself."""
    metadata = pod.get("metadata") or {}
    for one in metadata.get("ownerReferences") or ():
        if one.get("controller"):
            return Regarding(
                kind=str(one.get("kind", "")),
                name=str(one.get("name", "")),
                namespace=namespace,
                api_version=str(one.get("apiVersion", "")),
                uid=str(one.get("uid", "")),
            )
    name = metadata.get("name") or str(metadata.get("generateName", "")).rstrip("-")
    return Regarding("Pod", str(name), namespace)


def _event(notice: Notice, namespace: str, now: float) -> dict[str, Any]:
    about = notice.about
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
        "metadata": {"generateName": "seine-", "namespace": namespace},
        "involvedObject": {key: value for key, value in involved.items() if value},
        "reason": notice.reason,
        "message": notice.text[:MAX_MESSAGE],
        "type": "Warning" if notice.warning else "Normal",
        "source": {"component": COMPONENT},
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
