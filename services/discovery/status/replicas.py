"""Replicas: receipts and standing of every config-push that runs, asked by the leader.

Where they run the mesh itself says: the endpoints of their Service. Each has a stream of its own,
opened again with growing pauses; while it is broken, its last word counts. How proxies stand is
asked every second while a resource waits for proxies of which there will be no receipts. Besides,
every replica is asked every LOOK_SECONDS whether its proxies are others than before; only if they
were, and are the same twice in a row or have moved for MOVING_LOOKS, it is asked about each
resource. So a thousand proxies that connect cost one look, and not one each.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from itertools import islice
from typing import Protocol

import grpc
import grpc.aio

from libs.model import revisions
from libs.model.endpoint import Endpoint
from libs.model.ids import Ref
from libs.model.mesh import Mesh
from libs.protos.receipts.v1.receipts_pb2 import GetStandingRequest, Standing, WatchRequest
from libs.protos.receipts.v1.receipts_pb2_grpc import ReceiptsStub
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock
from libs.runtime.tasks import background
from services.discovery import metrics
from services.discovery.status.progress import ProgressBook

logger = logging.getLogger(__name__)

SERVICE = "seine-config-push"
PORT = "grpc-mtls"
MAX_REPLICAS = 100
"""Further ones are not asked, and the log says so."""
STANDING_SECONDS = 1.0
LOOK_SECONDS = 10.0
MOVING_LOOKS = 6
ASKED_AT_ONCE = 5_000
"""Resources in one request."""
BACKOFF = Backoff(first=0.2, limit=10.0)

Connect = Callable[[str], AbstractAsyncContextManager[grpc.aio.Channel]]
"""Opens a channel to `host:port` with this service's certificate."""


def addresses(
    mesh: Mesh, system_namespace: str, revision: str = revisions.DEFAULT
) -> frozenset[str]:
    """Return `host:port` of every config-push of a revision that the mesh knows."""
    service = f"{system_namespace}/{revisions.named(SERVICE, revision)}."
    found = (
        _address(endpoint)
        for key, row in mesh.endpoints.items()
        if key.startswith(service)
        for endpoint in row.endpoints
        if endpoint.port_name == PORT
    )
    return frozenset(found)


def _address(endpoint: Endpoint) -> str:
    host = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return f"{host}:{endpoint.port}"


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


class Replicas:
    """Follows replicas. `want` says which there are, `run` does the work."""

    def __init__(
        self,
        connect: Connect,
        book: ProgressBook,
        clock: Clock,
        *,
        interest: Interest,
    ) -> None:
        self._connect = connect
        self._book = book
        self._clock = clock
        self._interest = interest
        self._wanted: frozenset[str] = frozenset()
        self._changed = asyncio.Event()

    def want(self, found: frozenset[str]) -> None:
        """Follow these, and no others."""
        if len(found) > MAX_REPLICAS:
            logger.warning("too many replicas", extra={"replicas": len(found)})
            found = frozenset(sorted(found)[:MAX_REPLICAS])
        if found != self._wanted:
            self._wanted = found
            self._changed.set()

    async def run(self) -> None:
        """Follow until cancelled."""
        running: dict[str, asyncio.Task[None]] = {}
        async with background() as group:
            while True:
                for address in running.keys() - self._wanted:
                    running.pop(address).cancel()
                    self._book.close(address)
                for address in self._wanted - running.keys():
                    self._book.open(address)
                    running[address] = group.create_task(self._follow(address))
                metrics.STATUS_REPLICAS.set(len(running))
                await self._changed.wait()
                self._changed.clear()

    async def _follow(self, address: str) -> None:
        attempt = 0
        while True:
            try:
                async with (
                    self._connect(address) as channel,
                    background(self._ask(address, channel), self._look(address, channel)),
                ):
                    async for receipt in ReceiptsStub(channel).Watch(WatchRequest()):
                        attempt = 0
                        self._book.receipt(address, receipt)
                reason = "closed"
            except* grpc.aio.AioRpcError as errors:
                reason = "; ".join(str(it) for it in _codes(errors))
            delay = BACKOFF.delay(attempt, chance())
            attempt += 1
            extra = {"replica": address, "reason": reason, "retry_seconds": round(delay, 2)}
            logger.info("receipts ended", extra=extra)
            await self._clock.sleep(delay)

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


def _codes(errors: BaseExceptionGroup[grpc.aio.AioRpcError]) -> list[str]:
    found: list[str] = []
    for error in errors.exceptions:
        if isinstance(error, grpc.aio.AioRpcError):
            found.append(error.code().name)
        elif isinstance(error, BaseExceptionGroup):
            found += _codes(error)
    return found
