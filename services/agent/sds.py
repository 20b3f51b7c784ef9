"""SDS: serves secrets to Envoy on its socket, and each new one as soon as it is there.

Envoy opens a stream for each secret. Both forms of the protocol are served: state of the world,
which is what listeners and clusters ask for, and delta. A name that has no secret yet is answered
when it gets one, so that Envoy's listeners warm until then instead of serving without a
certificate. At most MAX_NAMES names are kept of one stream; a longer list ends it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from google.protobuf.message import DecodeError

from libs.protos.xds.v1 import relay_pb2
from libs.runtime.tasks import background
from services.agent import metrics
from services.agent.secrets import TYPE_URL, Secret, Secrets
from services.agent.streams.connection import Stream, StreamLostError
from services.agent.streams.messages import MessageError, Unpacker, pack
from services.agent.streams.server import accept

logger = logging.getLogger(__name__)

SERVICE = "/envoy.service.secret.v3.SecretDiscoveryService/"
STREAM = f"{SERVICE}StreamSecrets"
DELTA = f"{SERVICE}DeltaSecrets"
MAX_NAMES = 1000
_MAX_REQUEST = 1024 * 1024
_INVALID_ARGUMENT = "3"


class Dialect(Protocol):
    """One form of the protocol: what a request means and how secrets are answered."""

    again: set[str]
    """Names to answer even if they were sent before; the sender empties it."""
    nonce: str
    """Of the response that the last request answers; empty if it answers none."""

    def request(self, body: bytes) -> str:
        """Take in a request; return Envoy's complaint, empty if it has none."""
        ...

    @property
    def names(self) -> Iterable[str]:
        """The names that the stream asks for."""
        ...

    def response(self, secrets: list[Secret], nonce: str) -> bytes:
        """Return the message that carries `secrets`."""
        ...


class StateOfTheWorld:
    """Each request lists all names."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.again: set[str] = set()
        self.nonce = ""

    def request(self, body: bytes) -> str:
        """Take the names of a request over."""
        message = relay_pb2.SotwRequest.FromString(body)
        self.names = list(message.resource_names)
        self.nonce = message.response_nonce
        return message.error_detail.message

    def response(self, secrets: list[Secret], nonce: str) -> bytes:
        """Return the message that carries `secrets`."""
        message = relay_pb2.SotwResponse(version_info=nonce, type_url=TYPE_URL, nonce=nonce)
        for secret in secrets:
            message.resources.add(type_url=TYPE_URL, value=secret.body)
        return message.SerializeToString()


class Delta:
    """Requests add and remove names."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.again: set[str] = set()
        self.nonce = ""

    def request(self, body: bytes) -> str:
        """Add and remove the names of a request."""
        message = relay_pb2.DeltaRequest.FromString(body)
        self.nonce = message.response_nonce
        self.names.update(dict.fromkeys(message.resource_names_subscribe))
        self.again.update(message.resource_names_subscribe)
        for name in message.resource_names_unsubscribe:
            self.names.pop(name, None)
            self.again.discard(name)
        return message.error_detail.message

    def response(self, secrets: list[Secret], nonce: str) -> bytes:
        """Return the message that carries `secrets`."""
        message = relay_pb2.DeltaResponse(type_url=TYPE_URL, nonce=nonce)
        for secret in secrets:
            added = message.resources.add(name=secret.name, version=secret.version)
            added.resource.type_url = TYPE_URL
            added.resource.value = secret.body
        return message.SerializeToString()


class _Conversation:
    """One stream: how it speaks, and what was sent last."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.asked = asyncio.Event()
        self.nonce = "0"
        self.last: tuple[tuple[str, str], ...] = ()

    def sending(self, nonce: str, secrets: list[Secret]) -> None:
        """Note what goes out now: name and version of each."""
        self.nonce = nonce
        self.last = tuple((secret.name, secret.version) for secret in secrets)


class SdsServer:
    """Handlers of both methods."""

    def __init__(
        self,
        secrets: Secrets,
        *,
        on_subscribe: Callable[[str], None] = lambda _: None,
        on_accept: Callable[[str, str], None] = lambda _name, _version: None,
    ) -> None:
        """Take what is told of each name that is asked for, and each version that is accepted."""
        self._secrets = secrets
        self._on_subscribe = on_subscribe
        self._on_accept = on_accept
        self.handlers: dict[str, Callable[[Stream], Awaitable[None]]] = {
            STREAM: lambda stream: self._serve(stream, StateOfTheWorld()),
            DELTA: lambda stream: self._serve(stream, Delta()),
        }

    async def _serve(self, stream: Stream, dialect: Dialect) -> None:
        await accept(stream)
        conversation = _Conversation(dialect)
        problem = ""
        async with background(self._send(stream, conversation)):
            problem = await self._receive(stream, conversation)
        if problem:
            logger.warning("secrets stream refused", extra={"reason": problem})
            await stream.finish((("grpc-status", _INVALID_ARGUMENT), ("grpc-message", problem)))
        else:
            await stream.finish((("grpc-status", "0"),))

    async def _receive(self, stream: Stream, conversation: _Conversation) -> str:
        """Take in requests until Envoy ends the stream; return what was wrong with one."""
        dialect = conversation.dialect
        unpacker = Unpacker(_MAX_REQUEST)
        try:
            while data := await stream.read():
                for body in unpacker.feed(data):
                    self._note(conversation, dialect.request(body))
                    if len(list(dialect.names)) > MAX_NAMES:
                        return f"more than {MAX_NAMES} names on one stream"
                    for name in dialect.names:
                        self._on_subscribe(name)
                    conversation.asked.set()
        except (MessageError, DecodeError) as error:
            return str(error)
        except StreamLostError:
            return ""
        return ""

    def _note(self, conversation: _Conversation, complaint: str) -> None:
        """Note what a request says of the response before it."""
        if complaint:
            metrics.SECRET_REJECTS.inc()
            logger.error("envoy refused a secret", extra={"reason": complaint})
        elif conversation.dialect.nonce == conversation.nonce:
            for name, version in conversation.last:
                self._on_accept(name, version)

    async def _send(self, stream: Stream, conversation: _Conversation) -> None:
        """Send what is asked for and not yet sent, whenever either changes."""
        dialect, asked = conversation.dialect, conversation.asked
        sent: dict[str, str] = {}
        for nonce in range(1, 2**62):
            changed = self._secrets.next_change()
            asked.clear()
            kept = sent.keys() & set(dialect.names) - dialect.again
            sent = {name: sent[name] for name in kept}
            dialect.again.clear()
            found = [self._secrets.get(name) for name in dialect.names]
            fresh = [item for item in found if item and sent.get(item.name) != item.version]
            if not fresh:
                await _either(asked, changed)
                continue
            conversation.sending(str(nonce), fresh)
            try:
                await stream.write(pack(dialect.response(fresh, str(nonce))))
            except StreamLostError:
                return
            sent.update((secret.name, secret.version) for secret in fresh)


async def _either(*events: asyncio.Event) -> None:
    """Return when one of the events is set."""
    async with background() as group:
        tasks = [group.create_task(event.wait()) for event in events]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
