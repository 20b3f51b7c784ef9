"""Receipts: what every config-push says of changes and of its proxies, asked by the leader.

Each replica's stream of receipts is one thing (services/discovery/replicas.py). How proxies stand
is asked every second while a resource waits for proxies of which there will be no receipts.
Besides, every replica is asked every LOOK_SECONDS whether its proxies are others than before; only
if they were, and are the same twice in a row or have moved for MOVING_LOOKS, it is asked about each
resource. So a thousand proxies that connect cost one look, and not one each.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import Protocol

import grpc.aio

from libs.model.ids import Ref
from libs.protos.receipts.v1.receipts_pb2 import GetStandingRequest, Standing, WatchRequest
from libs.protos.receipts.v1.receipts_pb2_grpc import ReceiptsStub
from libs.runtime.clock import Clock
from libs.runtime.tasks import background
from services.discovery import metrics
from services.discovery.status.progress import ProgressBook

STANDING_SECONDS = 1.0
LOOK_SECONDS = 10.0
MOVING_LOOKS = 6
ASKED_AT_ONCE = 5_000
"""Resources in one request."""


class Interest(Protocol):
    """What is to be known of proxies."""

    unsettled: asyncio.Event
    """Set while something waits for proxies of which there will be no receipts."""

    def waiting(self) -> Collection[Ref]:
        """Return what waits."""
        ...

    def note_waiting(self) -> None:
        """Look again at what waits."""
        ...

    def everything(self) -> Iterable[Ref]:
        """Return all resources that have a status."""
        ...


class Receipts:
    """Writes down what replicas say of changes, and how their proxies stand."""

    hears = "receipts"

    def __init__(self, book: ProgressBook, clock: Clock, *, interest: Interest) -> None:
        self._book = book
        self._clock = clock
        self._interest = interest
        self.open = book.open
        self.close = book.close

    async def listen(
        self, replica: str, channel: grpc.aio.Channel, heard: Callable[[], None]
    ) -> None:
        """Follow the receipts of one replica, and ask about what has none."""
        async with background(self._ask(replica, channel), self._look(replica, channel)):
            async for receipt in ReceiptsStub(channel).Watch(WatchRequest()):
                heard()
                self._book.receipt(replica, receipt)

    async def _ask(self, address: str, channel: grpc.aio.Channel) -> None:
        while True:
            await self._interest.unsettled.wait()
            waiting = list(islice(self._interest.waiting(), ASKED_AT_ONCE))
            await self._ask_about(address, channel, waiting)
            self._interest.note_waiting()
            await self._clock.sleep(STANDING_SECONDS)

    async def _look(self, address: str, channel: grpc.aio.Channel) -> None:
        population = Population()
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            now = await ReceiptsStub(channel).GetStanding(GetStandingRequest())
            self._book.stands(address, now)
            if self._book.connected and population.is_news(now):
                metrics.STATUS_LOOKS.inc()
                for refs in _parts(self._interest.everything()):
                    await self._ask_about(address, channel, refs)

    async def _ask_about(
        self, address: str, channel: grpc.aio.Channel, refs: Collection[Ref]
    ) -> None:
        asked = self._book.shares(address, refs)
        found = await ReceiptsStub(channel).GetStanding(GetStandingRequest(refs=refs))
        self._book.looked(address, found, asked)


class Population:
    """Tells when the proxies of a replica have become others, once for many that come together."""

    def __init__(self) -> None:
        self._known: tuple[float, ...] | None = None  # when it was told last
        self._before: tuple[float, ...] | None = None
        self._moving = 0

    def is_news(self, now: Standing) -> bool:
        """Take what a replica says of itself; tell whether it is time to look at its proxies."""
        found = (now.connected, now.rejecting, now.joined, now.taken_over)
        if found == self._known:
            return False
        self._moving += 1
        if found != self._before and self._moving < MOVING_LOOKS:
            self._before = found
            return False
        self._known = self._before = found
        self._moving = 0
        return True


def _parts(refs: Iterable[Ref]) -> Iterator[list[Ref]]:
    left = iter(refs)
    while part := list(islice(left, ASKED_AT_ONCE)):
        yield part
