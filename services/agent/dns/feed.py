"""Feed: the table of names, from the control plane, on a stream of the agent's own.

The last table serves while there is no connection; on coming back the agent tells which one it has.
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
from services.agent.own_stream import OwnStream
from services.agent.streams.client import Target
from services.agent.streams.connection import Stream, StreamLostError
from services.agent.streams.messages import Unpacker, pack

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
        self._own = OwnStream(
            target,
            token,
            node=node,
            cluster_id=cluster_id,
            clock=clock,
            backoff=backoff,
            chance=chance,
        )
        self._on_table = on_table
        self._versions: dict[str, str] = {}

    async def run(self) -> None:
        """Follow the control plane, again and again."""
        await self._own.keep("stream of names ended", self._follow)

    async def _follow(self, stream: Stream) -> None:
        asked = relay_pb2.DeltaRequest(type_url=TYPE_URL)
        await stream.write(pack(self._own.introduction(asked, self._versions)))
        unpacker = Unpacker(MAX_TABLE)
        while data := await stream.read():
            for body in unpacker.feed(data):
                await self._take(stream, relay_pb2.DeltaResponse.FromString(body))

    async def _take(self, stream: Stream, response: relay_pb2.DeltaResponse) -> None:
        """Use a response and say so."""
        self._own.answered = True
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
