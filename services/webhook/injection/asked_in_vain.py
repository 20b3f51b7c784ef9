"""Asked in vain: namespaces whose labels name an injector that is not there, told to their owners.

No API server asks anybody about their pods, so this is found out by looking at the labels of
namespaces and the selectors of all webhooks, those of other control planes included. A change is
judged SETTLE_SECONDS after it was seen: who makes a tag and labels a namespace at once does so in
two collections, whose watches come in any order.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from libs.inject import unserved
from libs.inject.unserved import Asks, Reason, Unserved
from libs.kube.follow import Change
from libs.runtime.clock import Clock
from services.webhook import metrics

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 2.0

Labels = dict[str, str]
Tell = Callable[[str, Unserved], None]
"""Told of the name of a namespace, and what it asks for in vain."""


class AskedInVain:
    """Takes note of namespaces and configurations; `run` tells, once for each change."""

    def __init__(self, tell: Tell, clock: Clock) -> None:
        self._tell = tell
        self._clock = clock
        self._labels: dict[str, Labels] = {}
        self._asks: dict[str, tuple[Asks, ...]] = {}
        self._found: dict[str, Unserved] = {}
        self._changed = asyncio.Event()

    @property
    def asks(self) -> list[Asks]:
        """What all webhooks ask about."""
        return [one for asks in self._asks.values() for one in asks]

    def note_namespace(self, name: str, labels: Labels | None) -> None:
        """Take note of the labels of a namespace; None if it is gone."""
        asking = labels if labels and unserved.of_namespace(name, labels, ()) else None
        if asking == self._labels.get(name):
            return
        if asking is None:
            del self._labels[name]
        else:
            self._labels[name] = asking
        self._changed.set()

    async def take_configurations(self, changes: Sequence[Change]) -> None:
        """Take note of MutatingWebhookConfigurations."""
        for change in changes:
            name = change.name.name
            raw = {} if change.raw is None else msgspec.json.decode(change.raw)
            asks = tuple(unserved.asks(raw))
            if asks == self._asks.get(name, ()):
                continue  # such as a new caBundle
            if asks:
                self._asks[name] = asks
            else:
                del self._asks[name]
            self._changed.set()

    async def run(self) -> None:
        """Judge after each change until cancelled; to be started when everything is known."""
        while True:
            await self._changed.wait()
            await self._clock.sleep(SETTLE_SECONDS)
            self._changed.clear()
            self._judge()

    def _judge(self) -> None:
        known = self.asks
        before, self._found = self._found, {}
        for name, labels in self._labels.items():
            found = unserved.of_namespace(name, labels, known)
            if found is None:
                continue
            self._found[name] = found
            was = before.get(name)
            if was is None or was.wish != found.wish:
                logger.warning("asked in vain", extra={"namespace": name, "text": found.text})
                self._tell(name, found)
        counted = Counter(found.reason for found in self._found.values())
        for reason in Reason:
            metrics.ASKED_IN_VAIN.labels(reason).set(counted[reason])
