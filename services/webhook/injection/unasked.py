"""Unasked pods: those about which no API server asks, found among the pods that there are.

Pods whose labels speak of injection are followed, by name and labels only, so this costs no
admission anything, and pods that were made while nobody answered are found as well. Nothing waits
for it: a role that does not let us list pods leaves it undone, and the log says so.

A pod that has opted out is told of by the control plane that it would have been asked by; it is a
choice, so only pods that were made lately are worth an event. Of a pod that asks in vain everybody
tells, which makes one event (`events`). A change is judged SETTLE_SECONDS after it was seen, as
configurations, namespaces and pods come in any order. Beyond MAX_PODS further pods are not looked
at, and counted.
"""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from libs.api import registry
from libs.inject import unasked, words
from libs.inject.scene import NamespaceFacts
from libs.inject.unasked import Reason, Unasked
from libs.inject.unserved import Asks
from libs.kube.client import Client
from libs.kube.collection import of_kind
from libs.kube.follow import Change, Follower, Sink
from libs.kube.list import Name
from libs.runtime.clock import Clock
from libs.runtime.tasks import background
from services.webhook import metrics
from services.webhook.injection.events import NOT_INJECTED, Notice, Regarding, owner

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 2.0
MAX_PODS = 50_000
RECENT_SECONDS = 3600.0
"""As long as API servers keep events, unless they are told otherwise."""
SELECTORS = (words.INJECT, f"{words.REVISION},!{words.INJECT}")
"""Of the pods that are followed; no pod meets both."""

Labels = tuple[tuple[str, str], ...]
Tell = Callable[[Notice], bool]
"""Told of what to tell; False: there is no room for it now."""


class Surroundings(Struct, frozen=True, kw_only=True):
    """What a pod is judged by, as it is at the moment."""

    namespace: Callable[[str], NamespaceFacts]
    asks: Callable[[], Sequence[Asks]]
    service: tuple[str, str]
    """Namespace and name of the Service that leads here."""


class _Pod(Struct, frozen=True):
    labels: Labels
    about: Regarding
    made: float  # Unix seconds


Finding = tuple[Regarding, Unasked]


class UnaskedPods:
    """Takes note of pods and of what they are judged by; `run` follows them and tells."""

    def __init__(self, tell: Tell, clock: Clock, around: Surroundings) -> None:
        self._tell = tell
        self._clock = clock
        self._around = around
        self._pods: defaultdict[str, dict[tuple[str, str], _Pod]] = defaultdict(dict)
        self._count = 0
        self._found: dict[str, Counter[Finding]] = {}
        self._asks: Sequence[Asks] = ()
        self._moved: set[str] = set()
        self._changed = asyncio.Event()

    async def run(self, client: Client) -> None:
        """Follow pods and judge them until cancelled; to be started when all else is known."""
        kind = registry.BY_NAME["", "Pod"]
        followed = [
            (of_kind(kind, label_selector=one, metadata_only=True), self.sink(one))
            for one in SELECTORS
        ]
        followers = [Follower(client, what, sink, clock=self._clock) for what, sink in followed]
        async with background(*(one.run() for one in followers)):
            for one in followers:
                await one.synced.wait()
            await self.judge()

    def sink(self, selector: str) -> Sink:
        """Return what takes changes of the pods that a selector finds."""

        async def take(changes: Sequence[Change]) -> None:
            for change in changes:
                self._note(selector, change.name, _read(change))

        return take

    def note_namespace(self, name: str) -> None:
        """Look at a namespace again: its labels may have changed."""
        if name in self._pods:
            self._look_at(name)

    def note_configurations(self) -> None:
        """Look at all pods again, if webhooks ask about others now."""
        if self._around.asks() != self._asks:
            for name in self._pods:
                self._look_at(name)

    async def judge(self) -> None:
        """Judge what has moved until cancelled."""
        while True:
            await self._changed.wait()
            await self._clock.sleep(SETTLE_SECONDS)
            self._changed.clear()
            moved, self._moved = self._moved, set()
            self._asks = self._around.asks()
            for name in moved:
                self._judge(name)
                await self._clock.sleep(0)  # pods that are being created come first
            totals = Counter[Reason]()
            for found in self._found.values():
                for (_, why), count in found.items():
                    totals[why.reason] += count
            for reason in Reason:
                metrics.NOT_ASKED_ABOUT.labels(reason).set(totals[reason])

    def _note(self, selector: str, name: Name, pod: _Pod | None) -> None:
        pods, key = self._pods[name.namespace], (selector, name.name)
        if pods.get(key) == pod:
            pass  # such as a new status
        elif pod is None:
            del pods[key]
            self._count -= 1
            self._look_at(name.namespace)
        elif key in pods or self._count < MAX_PODS:
            self._count += key not in pods
            pods[key] = pod
            self._look_at(name.namespace)
        else:
            metrics.PODS_PASSED_OVER.inc()
        if not pods:
            del self._pods[name.namespace]

    def _look_at(self, namespace: str) -> None:
        self._moved.add(namespace)
        self._changed.set()

    def _judge(self, namespace: str) -> None:
        before, found = self._found.pop(namespace, Counter[Finding]()), Counter[Finding]()
        said: dict[Labels, Unasked | None] = {}
        for pod in self._pods.get(namespace, {}).values():
            if pod.labels not in said:
                said[pod.labels] = self._why(pod.labels, namespace)
            why = said[pod.labels]
            if why is None:
                continue
            finding = (pod.about, why)
            if finding in before or finding in found or self._told(pod, why):
                found[finding] += 1
            else:
                self._look_at(namespace)
        if found:
            self._found[namespace] = found

    def _why(self, labels: Labels, namespace: str) -> Unasked | None:
        home, _ = self._around.service
        facts = self._around.namespace(namespace)
        why = unasked.why(dict(labels), facts, self._asks, system_namespace=home)
        if why is None or why.reason is not Reason.OPTED_OUT:
            return why
        return why if why.service == self._around.service else None

    def _told(self, pod: _Pod, why: Unasked) -> bool:
        """Tell of a pod, if that is worth it; False: later."""
        chosen = why.reason is Reason.OPTED_OUT
        if chosen and self._clock.now() - pod.made > RECENT_SECONDS:
            return True
        text, detail = f"not injected: {why.text}", f"{why.reason}={why.wish}"
        notice = Notice(pod.about, NOT_INJECTED, text, warning=not chosen, detail=detail)
        told = self._tell(notice)
        if told:
            extra = {"namespace": pod.about.namespace, "owner": pod.about.name, "text": why.text}
            logger.log(
                logging.INFO if chosen else logging.WARNING, "pod not asked about", extra=extra
            )
        return told


class _Reference(Struct, frozen=True, rename="camel"):
    kind: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    controller: bool = False


class _Metadata(Struct, frozen=True, rename="camel"):
    name: str = ""
    uid: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[_Reference] | None = None
    creation_timestamp: datetime | None = None


class _Object(Struct, frozen=True):
    metadata: _Metadata


_DECODER = msgspec.json.Decoder(_Object)


def _read(change: Change) -> _Pod | None:
    """Return what is kept of a pod; None if it has gone, or has a proxy."""
    if change.raw is None:
        return None
    found = _DECODER.decode(change.raw).metadata
    if words.STATUS in (found.annotations or {}):
        return None
    made = found.creation_timestamp.timestamp() if found.creation_timestamp else 0.0
    about = owner({"metadata": msgspec.to_builtins(found)}, change.name.namespace)
    return _Pod(tuple(sorted((found.labels or {}).items())), about, made)
