"""Relay: Envoy's xDS stream, passed on to the control plane byte for byte.

Only responses about extensions are taken aside on their way: `modules` puts files into them.

One upstream connection for each of Envoy's streams: the first message of a stream names the proxy,
so streams cannot be shared or resumed. Until the control plane has answered on a stream, the relay
itself tries again, with backoff, and repeats what Envoy has said; Envoy waits on its open stream
and never starts its own, longer backoff. After an answer a lost upstream ends Envoy's stream: it
opens a new one at once, tells which resource versions it has, and serves with them meanwhile.

What is kept for repetition is bounded by REPLAY_BYTES; beyond that Envoy's stream is ended instead.
Everything else is bounded by the windows of `streams.connection`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from msgspec import Struct

from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock, SystemClock
from libs.runtime.tasks import background
from services.agent import metrics
from services.agent.modules.interposer import Interposer, interposed
from services.agent.streams.client import DialError, Target, dial
from services.agent.streams.connection import Connection, Headers, Stream, StreamLostError
from services.agent.streams.messages import Counter, MessageError
from services.agent.streams.server import accept
from services.agent.trust import HEADER, TrustedRoots

logger = logging.getLogger(__name__)

SERVICE = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
METHODS = (f"{SERVICE}DeltaAggregatedResources", f"{SERVICE}StreamAggregatedResources")
REPLAY_BYTES = 1024 * 1024
CANCELLED = "1"
INTERNAL = "13"
UNAVAILABLE = "14"


Rewrite = Callable[[bytes, bool], Awaitable[bytes]]
"""Returns what Envoy is to get in place of a response about extensions, delta or whole."""


async def as_it_is(message: bytes, delta: bool) -> bytes:
    """Return the response itself."""
    del delta
    return message


class Outcome(Struct, frozen=True):
    """How an upstream stream ended."""

    status: str  # gRPC's number
    message: str


class Replay:
    """Envoy's half of a stream, which can be read again from its start until it is committed."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._kept: list[bytes] = []
        self._size = 0
        self._next = 0
        self.committed = False

    async def read(self) -> bytes:
        """Return the next bytes; empty at the end."""
        if self._next < len(self._kept):
            self._next += 1
            return self._kept[self._next - 1]
        data = await self.stream.read()
        if not self.committed:
            self._keep(data)
        return data

    def commit(self) -> None:
        """Forget what was read: it will not be asked for again."""
        self.committed = True
        self._kept = self._kept[self._next :]
        self._next = 0

    def rewind(self) -> None:
        """Read again from the start."""
        self._next = 0

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > REPLAY_BYTES:
            self.commit()
            return
        self._kept.append(data)
        self._next += 1


class Relay:
    """Passes xDS streams on; `serve` is the handler of each."""

    def __init__(  # noqa: PLR0913 - all that it stands on
        self,
        target: Target,
        token: Callable[[], str],
        *,
        cluster_id: str = "Kubernetes",
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        chance: Callable[[], float] = chance,
        rewrite: Rewrite = as_it_is,
        trusted: TrustedRoots | None = None,
    ) -> None:
        self._target = target
        self._token = token
        self._cluster_id = cluster_id
        self._clock = clock or SystemClock()
        self._backoff = backoff or Backoff(first=0.2, limit=5.0)
        self._chance = chance
        self._rewrite = rewrite
        self._trusted = trusted or TrustedRoots()

    async def serve(self, downstream: Stream) -> None:
        """Relay one of Envoy's streams until it ends on either side."""
        try:
            await self._relay(downstream)
        except (asyncio.CancelledError, StreamLostError):
            metrics.ENVOY_TERMINATIONS.inc()
            raise

    async def _relay(self, downstream: Stream) -> None:
        await accept(downstream)
        source = Replay(downstream)
        attempt = 0
        while True:
            end = await self._attempt(source)
            if source.committed:
                break
            delay = self._backoff.delay(attempt, self._chance())
            attempt += 1
            _log(end, retry_seconds=round(delay, 2))
            await self._clock.sleep(delay)
            source.rewind()
        _log(end)
        await downstream.finish((("grpc-status", end.status), ("grpc-message", end.message)))

    async def _attempt(self, source: Replay) -> Outcome:
        """Dial and exchange once. Never raises for what the network did."""
        try:
            headers = self._headers(source.stream)
            async with dial(self._target) as connection:
                end = await self._exchange(source, connection, headers)
        except (DialError, OSError) as error:
            end = Outcome(UNAVAILABLE, str(error))
        ended = metrics.XDS_TERMINATIONS if end.status == "0" else metrics.XDS_FAILURES
        ended.inc()
        return end

    async def _exchange(self, source: Replay, connection: Connection, headers: Headers) -> Outcome:
        try:
            upstream = await connection.open(headers)
        except StreamLostError as error:
            return Outcome(UNAVAILABLE, str(error))
        delta = source.stream.headers.get(":path", "") == METHODS[0]
        changed = self._trusted.next_change()
        async with (
            background(_send(source, upstream)),
            interposed(source.stream.write, lambda it: self._rewrite(it, delta)) as envoy,
        ):
            return await self._until(changed, self._receive(upstream, source, envoy))

    async def _until(self, changed: asyncio.Event, work: Coroutine[Any, Any, Outcome]) -> Outcome:
        """Return how `work` ends; at once, if the stream has to say something else by now."""
        async with background() as group:
            receiving = group.create_task(work)
            waiting = group.create_task(changed.wait())
            await asyncio.wait({receiving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():
                return receiving.result()
        return Outcome(UNAVAILABLE, "the roots have changed")

    async def _receive(self, upstream: Stream, source: Replay, envoy: Interposer) -> Outcome:
        counter = Counter()
        first = True
        while True:
            try:
                data = await upstream.read()
            except StreamLostError as error:
                return Outcome(UNAVAILABLE, str(error))
            if not data:
                return outcome(upstream)
            metrics.XDS_RESPONSES.inc(counter.feed(data))
            if first:
                first = False
                source.commit()
                logger.info("control plane answers", extra={"address": self._target.address})
            try:
                await envoy.write(data)
            except StreamLostError as error:
                return Outcome(CANCELLED, f"envoy went away: {error}")
            except MessageError as error:
                return Outcome(INTERNAL, str(error))

    def _headers(self, downstream: Stream) -> Headers:
        path = downstream.headers.get(":path", "")
        headers = request_headers(
            self._target, self._token(), path=path, cluster_id=self._cluster_id
        )
        trusted = self._trusted.header
        return (*headers, (HEADER, trusted)) if trusted else headers


def request_headers(target: Target, token: str, *, path: str, cluster_id: str) -> Headers:
    """Return the headers of a call to the control plane."""
    return (
        (":method", "POST"),
        (":scheme", "https"),
        (":path", path),
        (":authority", target.authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "seine-agent"),
        ("clusterid", cluster_id),
        *((("authorization", f"Bearer {token}"),) if token else ()),
    )


async def _send(source: Replay, upstream: Stream) -> None:
    """Pass on what Envoy says. A loss on either side is noticed by whoever receives there."""
    counter = Counter()
    with contextlib.suppress(StreamLostError):
        while data := await source.read():
            metrics.XDS_REQUESTS.inc(counter.feed(data))
            await upstream.write(data)
        await upstream.write(b"", end=True)


def outcome(upstream: Stream) -> Outcome:
    """Return what the trailers of a stream say, or its headers if there are none."""
    said = upstream.trailers or upstream.headers
    return Outcome(said.get("grpc-status", UNAVAILABLE), said.get("grpc-message", ""))


def _log(end: Outcome, **fields: float) -> None:
    extra = {"grpc_status": end.status, "reason": end.message, **fields}
    logger.warning("control plane stream ended", extra=extra)
