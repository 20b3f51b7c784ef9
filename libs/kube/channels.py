"""Channels: the streams between us and a pod, which share one websocket through the API server.

Each message begins with the number of its stream. Kubernetes calls this `v4.channel.k8s.io`; the
kubelet ends it, the API server only passes it on. What the streams mean is not decided here: see
`forward` and `execute`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import ClientError, ClientWebSocketResponse, WSMsgType

from libs.kube.client import Client
from libs.kube.errors import ForbiddenError, MalformedError, NotFoundError, UnreachableError

PROTOCOL = "v4.channel.k8s.io"


class Channels:
    """Numbered streams. Make them with `opened`."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket

    async def send(self, channel: int, data: bytes) -> None:
        """Send bytes on a stream.

        Raises:
            UnreachableError: the other side has gone.

        """
        try:
            await self._socket.send_bytes(bytes((channel,)) + data)
        except (ClientError, OSError) as error:
            raise UnreachableError(f"{type(error).__name__}: {error}") from error

    async def receive(self) -> tuple[int, bytes] | None:
        """Return the next bytes of some stream; None once all have ended.

        Raises:
            MalformedError: what came is not of this protocol.
            UnreachableError: the connection broke.

        """
        message = await self._socket.receive()
        if message.type in {WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED}:
            return None
        if message.type is WSMsgType.ERROR:
            raise UnreachableError(f"the connection broke: {message.data}")
        if message.type is not WSMsgType.BINARY or not message.data:
            raise MalformedError("a message that is of no stream")
        return message.data[0], bytes(message.data[1:])


@asynccontextmanager
async def opened(
    client: Client,
    namespace: str,
    pod: str,
    *,
    action: str,
    params: Sequence[tuple[str, str | int]],
) -> AsyncIterator[Channels]:
    """Yield streams to a pod; `action` is the sub-resource: `portforward`, `exec`.

    Raises:
        ForbiddenError: the caller may not; says which verbs on what are needed.
        NotFoundError: there is no such pod.
        KubeError: otherwise as `Client.request`.

    """
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/{action}"
    try:
        async with client.websocket(path, params, protocol=PROTOCOL) as socket:
            yield Channels(socket)
    except ForbiddenError as error:
        # A websocket begins as a GET; since Kubernetes 1.35 that alone is not enough.
        needed = f"create and get of pods/{action} in namespace {namespace}"
        raise ForbiddenError(403, "Forbidden", f"you need {needed}") from error
    except NotFoundError as error:
        text = f"there is no pod {pod} in namespace {namespace}"
        raise NotFoundError(404, "NotFound", text) from error
