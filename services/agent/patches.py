"""Patches of the bootstrap: asked of the control plane once, before Envoy starts.

What came is kept in a file beside the bootstrap. If nobody answers in time, what the file holds
from an earlier start is used, or nothing: without a control plane a proxy has to start as well. The
answer is one small document, so nothing here queues. What became of it is told in the metadata of
Envoy's node, which config-push compares with what the proxy should have.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from msgspec import Struct

from libs.protos.bootstrap.v1.bootstrap_pb2 import Patches
from libs.protos.xds.v1 import relay_pb2
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock
from services.agent.own_stream import introduction
from services.agent.relay import METHODS, request_headers
from services.agent.streams.client import DialError, Target, dial
from services.agent.streams.connection import Headers, Stream, StreamLostError
from services.agent.streams.messages import MessageError, Unpacker, pack

logger = logging.getLogger(__name__)

TYPE_URL = "type.googleapis.com/seine.bootstrap.v1.Patches"
MAX_BYTES = 100 * 1024
"""Of the document: Envoy gets it as one argument, and Linux allows 128 KiB."""
USED = "SEINE_BOOTSTRAP"
"""Metadata of the node: the version of the patches that Envoy was started with; empty for none."""
REFUSED = "SEINE_BOOTSTRAP_REFUSED"
"""Metadata of the node: the version of patches that were not used, a space, and why."""
MAX_REASON = 1000
BACKOFF = Backoff(first=0.1, limit=1.0)
_FAILURES = (DialError, StreamLostError, MessageError, DecodeError, OSError)


class PatchesError(ValueError):
    """Patches cannot be used; the message says why."""


class Asked(Struct, frozen=True):
    """Patches as they came."""

    version: str = ""
    text: str = ""
    """JSON; empty if nobody patches."""


class Asker(Struct, frozen=True):
    """Whom to ask, and as whom."""

    target: Target
    token: Callable[[], str]
    node: Mapping[str, Any]
    cluster_id: str
    clock: Clock

    async def ask(self, seconds: float) -> Asked | None:
        """Return the patches; None if nobody has answered within `seconds`."""
        attempt = 0
        reason = "no answer"
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        return await self._attempt()
                    except (
                        DialError,
                        StreamLostError,
                        MessageError,
                        DecodeError,
                        OSError,
                    ) as error:
                        reason = str(error)
                    await self.clock.sleep(BACKOFF.delay(attempt, chance()))
                    attempt += 1
        except TimeoutError:
            extra = {"seconds": seconds, "reason": reason}
            logger.warning("nobody said how the bootstrap is patched", extra=extra)
            return None

    async def _attempt(self) -> Asked:
        headers = request_headers(
            self.target, self.token(), path=METHODS[0], cluster_id=self.cluster_id
        )
        async with self._stream(headers) as stream:
            asked = relay_pb2.DeltaRequest(type_url=TYPE_URL)
            await stream.write(pack(introduction(self.node, asked)))
            unpacker = Unpacker(2 * MAX_BYTES)
            while data := await stream.read():
                for body in unpacker.feed(data):
                    response = relay_pb2.DeltaResponse.FromString(body)
                    if response.type_url == TYPE_URL:
                        return _asked(response)
        message = "the control plane ended the stream"
        raise StreamLostError(message)

    @asynccontextmanager
    async def _stream(self, headers: Headers) -> AsyncIterator[Stream]:
        """Yield a stream of its own; its errors leave as they are, not in a group of them."""
        caught: Exception | None = None
        async with dial(self.target) as connection:
            try:
                yield await connection.open(headers)
            except (StreamLostError, MessageError, DecodeError) as error:
                caught = error
        if caught is not None:
            raise caught


def _asked(response: relay_pb2.DeltaResponse) -> Asked:
    for found in response.resources:
        return Asked(found.version, Patches.FromString(found.resource.value).json)
    return Asked()


def keep(path: Path, asked: Asked) -> None:
    """Remember what came, for a start without a control plane."""
    partial = path.with_suffix(".new")
    partial.write_bytes(msgspec.json.encode(asked))
    partial.replace(path)


def kept(path: Path) -> Asked:
    """Return what came at an earlier start; nothing if there was none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Asked)
    except FileNotFoundError:
        return Asked()
    except (OSError, msgspec.MsgspecError) as error:
        logger.warning("patches of an earlier start are lost", extra={"reason": str(error)})
        return Asked()


def overlay(text: str, override: str) -> str:
    """Return what Envoy is to lay over its bootstrap: patches, and the pod's own piece over them.

    Raises:
        PatchesError: they cannot be put together, or are too long.

    """
    laid = text
    if override:
        laid = msgspec.json.encode(_over(_object(text), _object(override))).decode()
    if len(laid.encode()) > MAX_BYTES:
        message = f"longer than {MAX_BYTES} bytes"
        raise PatchesError(message)
    return laid


def _object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        message = f"the pod has a bootstrap of its own, which is no JSON: {error}"
        raise PatchesError(message) from error


def _over(below: Any, above: Any) -> Any:  # noqa: ANN401  # JSON
    """Return `above` laid over `below`, as protobuf merges messages and appends lists."""
    if isinstance(below, list) and isinstance(above, list):
        return below + above
    if not isinstance(below, dict) or not isinstance(above, dict) or "@type" in above:
        return above
    merged = dict(below)
    for name, value in above.items():
        merged[name] = _over(below[name], value) if name in below else value
    return merged
