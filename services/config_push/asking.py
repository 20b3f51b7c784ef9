"""Asking: debug pages over a stream of configuration, as istioctl reads them.

A stream whose first request is of the type `istio.io/debug` is none of a proxy: its node is nobody,
and every answer is a page for each name that was asked for. Who asks sees what they would see by
HTTP. A name that has no page gets the reason instead, because one answer is all that is read.
"""

from collections.abc import AsyncIterator, Awaitable, Callable

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.any_pb2 import Any

from libs.model.ids import SpiffeId
from services.config_push.connection import Request
from services.config_push.debug import DebugPages, PageError
from services.config_push.errors import ProtocolError

DEBUG = "istio.io/debug"
MAX_NAMES = 16

Write = Callable[[bytes], Awaitable[None]]


async def answer(
    requests: AsyncIterator[Request], write: Write, *, pages: DebugPages, reader: SpiffeId
) -> None:
    """Answer requests until the stream ends.

    Raises:
        ProtocolError: a request is of another type, or asks for too much.

    """
    number = 0
    async for request in requests:
        if request.type_url != DEBUG:
            message = "a stream that asks for pages asks for nothing else"
            raise ProtocolError(message)
        if isinstance(request, discovery_pb2.DeltaDiscoveryRequest):
            respond, names = _delta, request.resource_names_subscribe
        else:
            respond, names = _state, request.resource_names
        if len(names) > MAX_NAMES:
            message = f"at most {MAX_NAMES} pages at once"
            raise ProtocolError(message)
        if not names:
            continue  # an acknowledgement
        number += 1
        found = [(name, await _page(pages, name, reader)) for name in names]
        await write(respond(found, str(number)))


async def _page(pages: DebugPages, name: str, reader: SpiffeId) -> bytes:
    try:
        return await pages.page(name, reader)
    except PageError as error:
        return str(error).encode()


def _state(found: list[tuple[str, bytes]], nonce: str) -> bytes:
    resources = [Any(type_url=DEBUG, value=body) for _, body in found]
    return discovery_pb2.DiscoveryResponse(
        type_url=DEBUG, version_info=nonce, nonce=nonce, resources=resources
    ).SerializeToString()


def _delta(found: list[tuple[str, bytes]], nonce: str) -> bytes:
    resources = [
        discovery_pb2.Resource(name=name, version=nonce, resource=Any(type_url=DEBUG, value=body))
        for name, body in found
    ]
    return discovery_pb2.DeltaDiscoveryResponse(
        type_url=DEBUG, system_version_info=nonce, nonce=nonce, resources=resources
    ).SerializeToString()
