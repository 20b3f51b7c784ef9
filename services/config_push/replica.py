"""Replica: this process's copy of the mesh, fed by discovery.

While discovery is away the last mesh is served on; subscriptions are tried again with growing,
jittered pauses. A process that has never heard of discovery falls back once to a mesh of an earlier
life. A gap in the feed means a new subscription, whose snapshot is compared with what is known, so
that only real differences become a change.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import grpc.aio

from libs.model.delta import Delta
from libs.model.mesh import Mesh
from libs.protos.feed.v1.feed_pb2 import MeshUpdate
from libs.rpc.errors import NotReadyError
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock
from services.config_push import metrics
from services.config_push.assembly import Assembly
from services.config_push.errors import FeedGapError

logger = logging.getLogger(__name__)

Subscribe = Callable[[], AsyncIterator[MeshUpdate]]
"""Opens one subscription; ends or raises grpc.RpcError, FeedGapError or NotReadyError."""
OnChange = Callable[[Mesh, Delta], None]


class Replica:
    """The latest mesh that is known here."""

    def __init__(
        self,
        subscribe: Subscribe,
        on_change: OnChange,
        *,
        clock: Clock,
        fallback: Callable[[], Awaitable[Mesh | None]] | None = None,
        backoff: Backoff | None = None,
        jitter: Callable[[], float] = chance,
    ) -> None:
        self._subscribe = subscribe
        self._on_change = on_change
        self._clock = clock
        self._fallback = fallback
        self._backoff = backoff or Backoff(first=0.2, limit=10.0)
        self._jitter = jitter
        self._assembly = Assembly()
        self.synced = False
        """There is a mesh to serve: from discovery, or from a warm start."""
        self.connected = False
        """The mesh is discovery's latest, as far as one can know."""
        self.taken_over = 0.0
        """When the whole mesh was last taken over: wall seconds."""

    @property
    def mesh(self) -> Mesh:
        """The latest whole mesh."""
        return self._assembly.mesh

    async def run(self) -> None:
        """Follow discovery until cancelled."""
        attempt = 0
        while True:
            reason = await self._follow_once()
            attempt = 0 if self.connected else attempt + 1
            self._set_connected(connected=False)
            await self._fall_back()
            delay = self._backoff.delay(attempt, self._jitter())
            metrics.FEED_RESTARTS.labels(reason=reason[0]).inc()
            logger.warning(
                "feed ended",
                extra={"reason": reason[1], "retry_seconds": round(delay, 2)},
            )
            await self._clock.sleep(delay)

    async def _fall_back(self) -> None:
        """Serve a mesh of an earlier life until discovery answers."""
        fallback, self._fallback = self._fallback, None
        if self.synced or fallback is None:
            return
        mesh = await fallback()
        if mesh is not None:
            logger.warning("serving the mesh of an earlier life", extra={"reason": "warm start"})
            self._assembly = Assembly(mesh)
            self.synced = True
            self._on_change(mesh, Delta())

    async def _follow_once(self) -> tuple[str, str]:
        """Follow one subscription to its end; return why it ended, as a label and in words."""
        self._assembly.restart()
        try:
            async for update in self._subscribe():
                self._take(update)
        except grpc.aio.AioRpcError as error:
            return error.code().name.lower(), str(error.details())
        except FeedGapError as error:
            return "gap", str(error)
        except NotReadyError as error:
            return "not_ready", str(error)
        return "closed", "discovery closed the stream"

    def _take(self, update: MeshUpdate) -> None:
        delta = self._assembly.add(update)
        if delta is None:
            return
        first = not self.synced
        self.synced = True
        if update.snapshot:
            self.taken_over = self._clock.now()
        self._set_connected(connected=True)
        if delta or first:
            self._on_change(self._assembly.mesh, delta)

    def _set_connected(self, *, connected: bool) -> None:
        if connected and not self.connected:
            logger.info("mesh synced", extra={"rows": sum(map(len, self.mesh.tables.values()))})
        self.connected = connected
        metrics.FEED_SYNCED.set(int(connected))
