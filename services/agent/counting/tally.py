"""Tally: the service that Envoy tells of connections, one call for each message.

A message has at most MAX_MESSAGE bytes; a longer or malformed one is refused and counted, and costs
what is in it. Every worker of Envoy has a connection of its own.
"""

import logging
from collections.abc import Mapping

from libs.runtime.clock import Clock
from services.agent import metrics
from services.agent.counting.counters import Counters
from services.agent.counting.entries import EntryError, read
from services.agent.counting.ledger import Ledger
from services.agent.streams.connection import Stream
from services.agent.streams.messages import MessageError, Unpacker, pack
from services.agent.streams.server import Handler, accept, fail

logger = logging.getLogger(__name__)

EXPORT = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
MAX_MESSAGE = 4 * 1024 * 1024
MAX_WORKERS = 1024
_INVALID_ARGUMENT = 3
_DONE = pack(b"")  # nothing was left out


class Tally:
    """Counts what it is told."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counters = Counters()
        self._ledger = Ledger(self._counters)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What to serve."""
        return {EXPORT: self._export}

    def page(self) -> bytes:
        """Return the counters in Prometheus' text format."""
        return self._counters.text().encode()

    def restarted(self) -> None:
        """Forget the connections of an Envoy that has ended; what they had stays counted."""
        self._ledger.forget()

    async def _export(self, stream: Stream) -> None:
        unpacker = Unpacker(MAX_MESSAGE)
        try:
            while data := await stream.read():
                for message in unpacker.feed(data):
                    self._take(message)
        except (MessageError, EntryError) as error:
            metrics.TCP_MESSAGES_REFUSED.inc()
            logger.warning(
                "what envoy said of connections is refused", extra={"reason": str(error)}
            )
            await fail(stream, _INVALID_ARGUMENT, "malformed")
            return
        await accept(stream)
        await stream.write(_DONE)
        await stream.finish((("grpc-status", "0"),))

    def _take(self, message: bytes) -> None:
        now = self._clock.monotonic()
        for entry in read(message):
            self._ledger.note(entry, now)
