"""Following: a stream of rolls from every config-push that there is.

Each replica has a stream of its own, opened again with growing pauses. Where they run the mesh
says, or without a cluster the settings.
"""

import asyncio
import logging

import grpc
import grpc.aio

from libs.protos.machines.v1.machines_pb2 import FollowRequest
from libs.protos.machines.v1.machines_pb2_grpc import MachinesStub
from libs.rpc.errors import NotReadyError
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock
from libs.runtime.tasks import background
from services.discovery.machines.roster import Roster
from services.discovery.status.replicas import Connect

logger = logging.getLogger(__name__)

MAX_REPLICAS = 100
"""Further ones are not followed, and the log says so."""
BACKOFF = Backoff(first=0.2, limit=10.0)


class Following:
    """Follows replicas. `want` says which there are, `run` does the work."""

    def __init__(self, connect: Connect, roster: Roster, clock: Clock) -> None:
        self._connect = connect
        self._roster = roster
        self._clock = clock
        self._wanted: frozenset[str] = frozenset()
        self._changed = asyncio.Event()

    def want(self, found: frozenset[str]) -> None:
        """Follow these, `host:port`, and no others."""
        if len(found) > MAX_REPLICAS:
            logger.warning("too many replicas", extra={"replicas": len(found)})
            found = frozenset(sorted(found)[:MAX_REPLICAS])
        if found != self._wanted:
            self._wanted = found
            self._changed.set()

    async def run(self) -> None:
        """Follow until cancelled, and forget everything then."""
        running: dict[str, asyncio.Task[None]] = {}
        try:
            async with background() as group:
                while True:
                    for address in running.keys() - self._wanted:
                        running.pop(address).cancel()
                        self._roster.close(address)
                    for address in self._wanted - running.keys():
                        self._roster.open(address)
                        running[address] = group.create_task(self._follow(address))
                    await self._changed.wait()
                    self._changed.clear()
        finally:
            for address in running:
                self._roster.close(address)

    async def _follow(self, address: str) -> None:
        attempt = 0
        while True:
            try:
                async with self._connect(address) as channel:
                    self._roster.begin(address)
                    async for roll in MachinesStub(channel).Follow(FollowRequest()):
                        attempt = 0
                        self._roster.take(address, roll)
                reason = "closed"
            except grpc.aio.AioRpcError as error:
                reason = error.code().name
            except NotReadyError as error:
                reason = str(error)
            delay = BACKOFF.delay(attempt, chance())
            attempt += 1
            extra = {"replica": address, "reason": reason, "retry_seconds": round(delay, 2)}
            logger.info("roll of machines ended", extra=extra)
            await self._clock.sleep(delay)
