"""Asking: debug pages over a stream of configuration, as istioctl reads them.

A stream whose first request is of the type `istio.io/debug` is none of a proxy: its node is nobody,
and every answer is a page for each name that was asked for. Who asks sees what they would see by
HTTP. A name that has no page gets the reason instead, because one answer is all that is read.
Some pages have types of their own, and are answered by messages of Envoy's: `istio.io/debug/syncz`
(`istioctl proxy-status`, `istioctl x version`), `istio.io/debug/config_dump` (the same for one
proxy, whose name is asked for) and `istio.io/connect` (who is connected, for older istioctls).
"""

import json
import platform
from collections.abc import AsyncIterator, Awaitable, Callable

from envoy.config.core.v3.base_pb2 import ControlPlane
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.any_pb2 import Any

from libs.model.ids import SpiffeId
from libs.runtime import build
from services.config_push import client_status
from services.config_push.connection import Request
from services.config_push.debug import DebugPages, PageError
from services.config_push.errors import ProtocolError

DEBUG = "istio.io/debug"
SYNCZ = "istio.io/debug/syncz"
CONFIG_DUMP = "istio.io/debug/config_dump"
CONNECT = "istio.io/connect"
TYPES = frozenset({DEBUG, SYNCZ, CONFIG_DUMP, CONNECT})
_WITHOUT_NAMES = frozenset({SYNCZ, CONNECT})
MAX_NAMES = 16

Write = Callable[[bytes], Awaitable[None]]
_Found = list[tuple[str, Any]]


async def answer(
    requests: AsyncIterator[Request], write: Write, *, pages: DebugPages, reader: SpiffeId
) -> None:
    """Answer requests until the stream ends.

    Raises:
        ProtocolError: a request is of another type, or asks for too much.

    """
    number = 0
    async for request in requests:
        if request.type_url not in TYPES:
            message = "a stream that asks for pages asks for nothing else"
            raise ProtocolError(message)
        names = _names(request)
        if len(names) > MAX_NAMES:
            message = f"at most {MAX_NAMES} pages at once"
            raise ProtocolError(message)
        if request.response_nonce == str(number) or _asks_nothing(request, names):
            continue  # an acknowledgement; istioctl writes a nonce of its own into what it asks
        number += 1
        found = await _found(pages, request.type_url, names, reader=reader)
        respond = _delta if isinstance(request, discovery_pb2.DeltaDiscoveryRequest) else _state
        await write(respond(request.type_url, found, str(number)))


def _names(request: Request) -> list[str]:
    if isinstance(request, discovery_pb2.DeltaDiscoveryRequest):
        return list(request.resource_names_subscribe)
    return list(request.resource_names)


def _asks_nothing(request: Request, names: list[str]) -> bool:
    return not names and request.type_url not in _WITHOUT_NAMES


async def _found(pages: DebugPages, type_url: str, names: list[str], *, reader: SpiffeId) -> _Found:
    if type_url == SYNCZ:
        return [(one.node.id, client_status.packed(one)) for one in pages.statuses(reader)]
    if type_url == CONNECT:
        return [(one.node.id, client_status.packed(one.node)) for one in pages.statuses(reader)]
    if type_url == CONFIG_DUMP:
        try:
            return [
                ("", one) for name in names[:1] for one in await pages.configuration(name, reader)
            ]
        except PageError:
            return []  # there is no room for a reason: as from Istio
    return [(name, Any(type_url=DEBUG, value=await _page(pages, name, reader))) for name in names]


async def _page(pages: DebugPages, name: str, reader: SpiffeId) -> bytes:
    try:
        return await pages.page(name, reader)
    except PageError as error:
        return str(error).encode()


def _state(type_url: str, found: _Found, nonce: str) -> bytes:
    return discovery_pb2.DiscoveryResponse(
        type_url=type_url,
        version_info=nonce,
        nonce=nonce,
        resources=[one for _, one in found],
        control_plane=_who(),
    ).SerializeToString()


def _delta(type_url: str, found: _Found, nonce: str) -> bytes:
    resources = [
        discovery_pb2.Resource(name=name, version=nonce, resource=one) for name, one in found
    ]
    return discovery_pb2.DeltaDiscoveryResponse(
        type_url=type_url,
        system_version_info=nonce,
        nonce=nonce,
        resources=resources,
        control_plane=_who(),
    ).SerializeToString()


def _who() -> ControlPlane:
    """Return which replica answers, and its version: in a cluster its host is its pod."""
    said = {"Component": "istiod", "ID": platform.node(), "Info": build.info()}
    return ControlPlane(identifier=json.dumps(said))
