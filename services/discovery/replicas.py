"""Replicas: a stream from every config-push that runs, kept open by whoever wants to hear of it.

Where they run the mesh itself says: the endpoints of their Service. Each has a stream of its own,
opened again with growing pauses; while it is broken, its last word counts. What is asked and what
becomes of the answers is the listener's: receipts (status/receipts.py), rolls of machines
(machines/rolls.py), findings (findings.py).
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import grpc
import grpc.aio

from libs.model import revisions
from libs.model.endpoint import Endpoint
from libs.model.mesh import Mesh
from libs.rpc.errors import NotReadyError
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock
from libs.runtime.tasks import background

logger = logging.getLogger(__name__)

SERVICE = "seine-config-push"
PORT = "grpc-mtls"
MAX_REPLICAS = 100
"""Further ones are not asked, and the log says so."""
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


class Listener(Protocol):
    """Who is interested in what replicas say."""

    hears: str
    """Of what, for the log."""

    def open(self, replica: str) -> None:
        """Wait for the word of a replica from now on."""
        ...

    def close(self, replica: str) -> None:
        """Wait no longer: it has gone, or nobody listens any more."""
        ...

    async def listen(
        self, replica: str, channel: grpc.aio.Channel, heard: Callable[[], None]
    ) -> None:
        """Follow one stream until it ends; call `heard` with each message."""
        ...


class Replicas:
    """Follows replicas for a listener. `want` says which there are, `run` does the work."""

    def __init__(
        self,
        connect: Connect,
        listener: Listener,
        clock: Clock,
        *,
        counted: Callable[[int], None] = lambda number: None,
    ) -> None:
        """Take also who is told how many are followed."""
        self._connect = connect
        self._listener = listener
        self._clock = clock
        self._counted = counted
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
        """Follow until cancelled; close every replica then, since some may go unseen."""
        running: dict[str, asyncio.Task[None]] = {}
        try:
            async with background() as group:
                while True:
                    for address in running.keys() - self._wanted:
                        running.pop(address).cancel()
                        self._listener.close(address)
                    for address in self._wanted - running.keys():
                        self._listener.open(address)
                        running[address] = group.create_task(self._follow(address))
                    self._counted(len(running))
                    await self._changed.wait()
                    self._changed.clear()
        finally:
            for address in running:
                self._listener.close(address)
            self._counted(0)

    async def _follow(self, address: str) -> None:
        attempt = 0

        def heard() -> None:
            nonlocal attempt
            attempt = 0

        while True:
            reason = "closed"
            try:
                async with self._connect(address) as channel:
                    await self._listener.listen(address, channel, heard)
            except* (grpc.aio.AioRpcError, NotReadyError) as errors:
                reason = "; ".join(_words(errors))
            delay = BACKOFF.delay(attempt, chance())
            attempt += 1
            extra = {
                "hears": self._listener.hears,
                "replica": address,
                "reason": reason,
                "retry_seconds": round(delay, 2),
            }
            logger.info("stream ended", extra=extra)
            await self._clock.sleep(delay)


def _words(errors: BaseExceptionGroup[Exception]) -> list[str]:
    found: list[str] = []
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found += _words(error)
        elif isinstance(error, grpc.aio.AioRpcError):
            found.append(error.code().name)
        else:
            found.append(str(error))
    return found
