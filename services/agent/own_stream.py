"""Own stream: a stream of xDS that the agent keeps for itself, beside those of its Envoy.

It introduces itself as Envoy does, and comes back with growing pauses. Envoy's streams are not
touched: they may begin later, end sooner, and are passed on byte for byte.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from libs.protos.xds.v1 import relay_pb2
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock
from services.agent.relay import METHODS, UNAVAILABLE, Outcome, outcome, request_headers
from services.agent.streams.client import DialError, Target, dial
from services.agent.streams.connection import Connection, Headers, Stream, StreamLostError
from services.agent.streams.messages import MessageError

logger = logging.getLogger(__name__)

Talk = Callable[[Stream], Awaitable[None]]
"""Uses a stream until that ends; whatever it raises of streams and messages ends the stream."""


def introduction(
    node: Mapping[str, Any],
    asked: relay_pb2.DeltaRequest,
    versions: Mapping[str, str] | None = None,
) -> bytes:
    """Return the first request of a delta stream: who asks, for what, and what it has already."""
    introduced = relay_pb2.Introduction(initial_resource_versions=versions)
    introduced.node.id = node["id"]
    introduced.node.cluster = node["cluster"]
    introduced.node.metadata.update(node["metadata"])
    return introduced.SerializeToString() + asked.SerializeToString()


class OwnStream:
    """Keeps one stream open; `keep` never ends."""

    def __init__(  # noqa: PLR0913 - all that it stands on
        self,
        target: Target,
        token: Callable[[], str],
        *,
        node: Mapping[str, Any],
        cluster_id: str,
        clock: Clock,
        backoff: Backoff | None = None,
        chance: Callable[[], float] = chance,
    ) -> None:
        self._target = target
        self._token = token
        self._node = node
        self._cluster_id = cluster_id
        self._clock = clock
        self._backoff = backoff or Backoff(first=0.2, limit=5.0)
        self._chance = chance
        self.answered = False
        """Set it when the control plane has answered: then the next pause is short."""

    async def keep(self, text: str, talk: Talk) -> None:
        """Talk, again and again; `text` is what the log says when a stream has ended."""
        attempt = 0
        while True:
            self.answered = False
            ended = await self._attempt(talk)
            attempt = 0 if self.answered else attempt + 1
            delay = self._backoff.delay(attempt, self._chance())
            extra = {
                "grpc_status": ended.status,
                "reason": ended.message,
                "retry_seconds": round(delay, 2),
            }
            logger.warning(text, extra=extra)
            await self._clock.sleep(delay)

    def introduction(
        self, asked: relay_pb2.DeltaRequest, versions: Mapping[str, str] | None = None
    ) -> bytes:
        """Return the first request of a stream; see `introduction`."""
        return introduction(self._node, asked, versions)

    async def _attempt(self, talk: Talk) -> Outcome:
        """Dial and talk once. Never raises for what the network did."""
        try:
            headers = request_headers(
                self._target, self._token(), path=METHODS[0], cluster_id=self._cluster_id
            )
            async with dial(self._target) as connection:
                return await _talked(connection, headers, talk)
        except (DialError, OSError) as error:
            return Outcome(UNAVAILABLE, str(error))


async def _talked(connection: Connection, headers: Headers, talk: Talk) -> Outcome:
    """Use one stream; its errors end here: the connection's tasks would wrap them."""
    try:
        stream = await connection.open(headers)
        await talk(stream)
        return outcome(stream)
    except (StreamLostError, MessageError, DecodeError) as error:
        return Outcome(UNAVAILABLE, str(error))
