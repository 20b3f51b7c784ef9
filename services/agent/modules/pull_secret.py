"""Pull secrets: who one is to registries, asked of the control plane when a module is fetched.

On a stream of the agent's own, which ends with the answer: Envoy never sees such a Secret, and the
agent keeps none. The control plane gives it only if an extension that is for this proxy names it.
It may have heard of the Secret later than of the extension, so a no is taken after a while only.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from libs.protos.xds.v1 import relay_pb2
from services.agent.modules.errors import ModuleError
from services.agent.own_stream import introduction
from services.agent.relay import METHODS, outcome, request_headers
from services.agent.streams.client import DialError, Target, dial
from services.agent.streams.connection import Connection, StreamLostError
from services.agent.streams.messages import MessageError, Unpacker, pack

SECONDS = 10.0
SECONDS_AFTER_NO = 3.0
MAX_MESSAGE = 2 * 1024 * 1024

TYPE_URL = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


class PullSecrets:
    """Asks for one Secret at a time."""

    def __init__(
        self,
        target: Target,
        token: Callable[[], str],
        *,
        node: Mapping[str, Any],
        cluster_id: str,
    ) -> None:
        self._target = target
        self._token = token
        self._node = node
        self._cluster_id = cluster_id

    async def get(self, name: str) -> bytes:
        """Return what the Secret holds that the control plane knows as `name`.

        Raises:
            ModuleError: there is none for this proxy.

        """
        shown = name.rpartition("://")[2]
        try:
            async with asyncio.timeout(SECONDS) as deadline, dial(self._target) as connection:
                found, reason = await self._ask(connection, name, deadline)
        except TimeoutError as error:
            message = f"there is no image pull Secret {shown} that is for this proxy"
            raise ModuleError(message) from error
        except (DialError, OSError) as error:
            found, reason = None, str(error)
        if found is None:
            message = f"the image pull Secret {shown} cannot be asked for: {reason}"
            raise ModuleError(message)
        return found

    async def _ask(
        self, connection: Connection, name: str, deadline: asyncio.Timeout
    ) -> tuple[bytes | None, str]:
        """Return the Secret, or why there is none: the connection's tasks would wrap errors."""
        try:
            headers = request_headers(
                self._target, self._token(), path=METHODS[0], cluster_id=self._cluster_id
            )
            stream = await connection.open(headers)
            asked = relay_pb2.DeltaRequest(type_url=TYPE_URL, resource_names_subscribe=[name])
            await stream.write(pack(introduction(self._node, asked)))
            unpacker = Unpacker(MAX_MESSAGE)
            while data := await stream.read():
                for body in unpacker.feed(data):
                    found = _answer(relay_pb2.DeltaResponse.FromString(body), name, deadline)
                    if found is not None:
                        return found, ""
        except (StreamLostError, MessageError, DecodeError, OSError) as error:
            return None, str(error)
        ended = outcome(stream)
        return None, ended.message or f"the stream ended with {ended.status}"


def _answer(
    response: relay_pb2.DeltaResponse, name: str, deadline: asyncio.Timeout
) -> bytes | None:
    """Return the Secret, if it has come; wait no longer than a while if there is none."""
    for one in response.resources:
        if one.name == name:
            return relay_pb2.Secret.FromString(
                one.resource.value
            ).generic_secret.secret.inline_bytes
    if name in response.removed_resources:
        soon = asyncio.get_running_loop().time() + SECONDS_AFTER_NO
        deadline.reschedule(min(soon, deadline.when() or soon))
    return None
