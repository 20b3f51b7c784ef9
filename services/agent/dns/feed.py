"""Feed: the table of names, from the control plane, on a stream of the agent's own.

Envoy's stream is not touched: it may begin later, end sooner, and is passed on byte for byte. The
last table serves while there is no connection; on coming back the agent tells which one it has.
A table that cannot be read is refused in words, and the one before it stays.
"""

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from libs.protos.istio.nds.v1.nds_pb2 import NameTable
from libs.protos.xds.v1 import relay_pb2
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock
from services.agent.own_stream import introduction
from services.agent.relay import METHODS, UNAVAILABLE, Outcome, outcome, request_headers
from services.agent.streams.client import DialError, Target, dial
from services.agent.streams.connection import Connection, Headers, Stream, StreamLostError
from services.agent.streams.messages import MessageError, Unpacker, pack

logger = logging.getLogger(__name__)

TYPE_URL = "type.googleapis.com/istio.networking.nds.v1.NameTable"
MAX_TABLE = 16 * 1024 * 1024
_INVALID_ARGUMENT = 3


class Feed:
    """Keeps the newest table; `run` never ends."""

    def __init__(  # noqa: PLR0913 - all that it stands on
        self,
        target: Target,
        token: Callable[[], str],
        *,
        node: Mapping[str, Any],
        cluster_id: str,
        on_table: Callable[[NameTable], None],
        clock: Clock,
        backoff: Backoff | None = None,
        chance: Callable[[], float] = chance,
    ) -> None:
        self._target = target
        self._token = token
        self._node = node
        self._cluster_id = cluster_id
        self._on_table = on_table
        self._clock = clock
        self._backoff = backoff or Backoff(first=0.2, limit=5.0)
        self._chance = chance
        self._versions: dict[str, str] = {}
        self._answered = False

    async def run(self) -> None:
        """Follow the control plane, again and again."""
        attempt = 0
        while True:
            self._answered = False
            ended = await self._attempt()
            attempt = 0 if self._answered else attempt + 1
            delay = self._backoff.delay(attempt, self._chance())
            logger.warning(
                "stream of names ended",
                extra={
                    "grpc_status": ended.status,
                    "reason": ended.message,
                    "retry_seconds": round(delay, 2),
                },
            )
            await self._clock.sleep(delay)

    async def _attempt(self) -> Outcome:
        """Dial and listen once. Never raises for what the network did."""
        try:
            headers = request_headers(
                self._target, self._token(), path=METHODS[0], cluster_id=self._cluster_id
            )
            async with dial(self._target) as connection:
                return await self._listen(connection, headers)
        except (DialError, OSError) as error:
            return Outcome(UNAVAILABLE, str(error))

    async def _listen(self, connection: Connection, headers: Headers) -> Outcome:
        """Follow one stream; its errors end here: the connection's tasks would wrap them."""
        try:
            return await self._follow(connection, headers)
        except (StreamLostError, MessageError, DecodeError) as error:
            return Outcome(UNAVAILABLE, str(error))

    async def _follow(self, connection: Connection, headers: Headers) -> Outcome:
        stream = await connection.open(headers)
        asked = relay_pb2.DeltaRequest(type_url=TYPE_URL)
        await stream.write(pack(introduction(self._node, asked, self._versions)))
        unpacker = Unpacker(MAX_TABLE)
        while data := await stream.read():
            for body in unpacker.feed(data):
                await self._take(stream, relay_pb2.DeltaResponse.FromString(body))
        return outcome(stream)

    async def _take(self, stream: Stream, response: relay_pb2.DeltaResponse) -> None:
        """Use a response and say so."""
        self._answered = True
        if response.type_url != TYPE_URL:
            return
        reply = relay_pb2.DeltaRequest(type_url=TYPE_URL, response_nonce=response.nonce)
        try:
            self._use(response)
        except DecodeError as error:
            logger.exception("the table of names cannot be read")
            reply.error_detail.code = _INVALID_ARGUMENT
            reply.error_detail.message = f"not a table of names: {error}"
        with contextlib.suppress(StreamLostError):
            await stream.write(pack(reply.SerializeToString()))

    def _use(self, response: relay_pb2.DeltaResponse) -> None:
        for found in response.resources:
            table = NameTable.FromString(found.resource.value)
            self._on_table(table)
            self._versions = {found.name: found.version}
        if not response.resources and not self._versions:
            self._on_table(NameTable())  # nothing is called by a name
