"""Debug pages: what each proxy was sent, what it said to that, and what became of changes.

Shapes are Istio's where Istio has the page, so that its tools can read them, with further fields
beside them. A reader on this machine is let in; any other proves itself like a proxy and sees all
of the mesh from the system namespace, and only its own namespace's proxies from any other.
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from aiohttp import web
from google.protobuf.json_format import MessageToDict
from msgspec import Struct

from libs.kube.errors import KubeError, TokenRefusedError
from libs.pki.errors import TokenError
from libs.xds import outcomes
from libs.xds.stream.watch import Watch
from libs.xds.types import (
    CLUSTER,
    ENDPOINT,
    EXTENSION,
    LISTENER,
    ROUTE,
    Outcome,
    resource_set,
)
from services.config_push import config_dump
from services.config_push.authn import Prove
from services.config_push.connection import Connection
from services.config_push.connections import Connections
from services.config_push.push import Pusher
from services.config_push.receipts import ReceiptBook

_COLUMNS = {
    CLUSTER: "cluster",
    LISTENER: "listener",
    ROUTE: "route",
    ENDPOINT: "endpoint",
    EXTENSION: "extension_config",
}
_SCHEME = "Bearer "
_EVERYTHING = ""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Readers(Struct, frozen=True):
    """Who may read what."""

    verify: Prove  # a token
    system_namespace: str


class DebugPages:
    """The pages under /debug."""

    def __init__(
        self, connections: Connections, pusher: Pusher, *, book: ReceiptBook, readers: Readers
    ) -> None:
        self._connections = connections
        self._pusher = pusher
        self._book = book
        self._readers = readers

    def routes(self) -> list[web.RouteDef]:
        """Return the routes for the monitoring port."""
        return [
            web.get("/debug/syncz", self._syncz),
            web.get("/debug/connections", self._list_connections),
            web.get("/debug/config_dump", self._config_dump),
            web.get("/debug/push_status", self._push_status),
            web.get("/debug/receipts", self._receipts),
            web.get("/debug/patches", self._patches),
        ]

    async def _syncz(self, request: web.Request) -> web.Response:
        visible = await self._visible(request)
        return web.json_response([_sync_status(one) for one in visible if not one.of_agent])

    async def _list_connections(self, request: web.Request) -> web.Response:
        visible = await self._visible(request)
        return web.json_response(
            {"totalClients": len(visible), "clients": [_client(one) for one in visible]}
        )

    async def _config_dump(self, request: web.Request) -> web.Response:
        proxy = request.query.get("proxyID", "")
        if not proxy:
            raise web.HTTPBadRequest(text="proxyID=<pod>.<namespace> is needed\n")
        visible = await self._visible(request)
        found = [one for one in visible if one.proxy_id == proxy and not one.of_agent]
        if not found:  # the same for absent and forbidden
            raise web.HTTPNotFound(text=f"no proxy {proxy} is connected here\n")
        sets = found[-1].before
        body = await asyncio.to_thread(config_dump.render, sets)
        return web.Response(body=body, content_type="application/json")

    async def _push_status(self, request: web.Request) -> web.Response:
        await self._only_system(request)
        latest = self._pusher.round
        return web.json_response(
            {
                "push": latest.push if latest else 0,
                "mesh_version": latest.mesh.version if latest else 0,
                "proxies": len(self._connections),
                "waiting": self._pusher.waiting,
                "classes": len({one.digest for one in self._connections}),
                "rejected": [
                    status for one in self._connections for status in [_rejections(one)] if status
                ],
            }
        )

    async def _receipts(self, request: web.Request) -> web.Response:
        await self._only_system(request)
        found = self._book.receipts(request.query.get("ref", ""))
        return web.json_response(
            [MessageToDict(one, preserving_proto_field_name=True) for one in found]
        )

    async def _patches(self, request: web.Request) -> web.Response:
        """What became of each patch of an EnvoyFilter, at all proxies that are connected here."""
        await self._only_system(request)
        sets = {id(one): one for proxy in self._connections for one in proxy.before.values()}
        latest = self._pusher.round
        rows = latest.mesh.patches.values() if latest else ()
        known = [Outcome(row.ref, patch.index, 0) for row in rows for patch in row.patches]
        nowhere = resource_set(LISTENER, (), tuple(known))
        return web.json_response(
            [
                {
                    "ref": one.ref,
                    "patch": f"spec.configPatches[{one.index}]",
                    "applied": one.hits,
                    "finding": outcomes.finding(one),
                }
                for one in outcomes.summed([*sets.values(), nowhere])
            ]
        )

    async def _only_system(self, request: web.Request) -> None:
        if await self._reads(request) != _EVERYTHING:
            raise web.HTTPForbidden(text="only for the control plane\n")

    async def _visible(self, request: web.Request) -> list[Connection]:
        namespace = await self._reads(request)
        return [
            one
            for one in self._connections
            if namespace in {_EVERYTHING, one.peer.identity.namespace}
        ]

    async def _reads(self, request: web.Request) -> str:
        """Return the namespace whose proxies the reader may see, or _EVERYTHING."""
        if _is_loopback(request.remote):
            return _EVERYTHING
        header = request.headers.getall("Authorization", [])
        if len(header) != 1 or not header[0].startswith(_SCHEME):
            raise web.HTTPUnauthorized(text="a token is needed\n")
        try:
            reader = await self._readers.verify(header[0].removeprefix(_SCHEME))
        except (TokenError, TokenRefusedError) as error:
            raise web.HTTPUnauthorized(text="not authenticated\n") from error
        except KubeError as error:
            raise web.HTTPServiceUnavailable(text="nobody can say who you are\n") from error
        return (
            _EVERYTHING if reader.namespace == self._readers.system_namespace else reader.namespace
        )


def _is_loopback(remote: str | None) -> bool:
    try:
        return ipaddress.ip_address(remote or "").is_loopback
    except ValueError:
        return False


def _sync_status(connection: Connection) -> dict[str, object]:
    node = connection.peer.metadata
    status: dict[str, object] = {
        "cluster_id": node.get("CLUSTER_ID", ""),
        "proxy": connection.proxy_id,
        "proxy_type": connection.peer.node_id.split("~")[0],
        "istio_version": node.get("ISTIO_VERSION", ""),
        "identity": str(connection.peer.identity),
        "class": connection.class_name,
        "held": connection.session.held,
    }
    for type_url, column in _COLUMNS.items():
        watch = connection.session.watches.get(type_url)
        if watch is not None:
            status |= _column(column, watch)
    return status


def _column(name: str, watch: Watch) -> dict[str, object]:
    ledger = watch.ledger
    column: dict[str, object] = {
        f"{name}_sent": ledger.sent,
        f"{name}_acked": ledger.acked,
        f"{name}_status": _state(watch),
    }
    if ledger.error:
        column[f"{name}_error"] = ledger.error
        column[f"{name}_error_resources"] = list(ledger.guilty)
        column[f"{name}_error_sources"] = list(ledger.guilty_sources)
    return column


def _state(watch: Watch) -> str:
    ledger = watch.ledger
    if ledger.error:
        return "ERROR"
    if not ledger.sent:
        return "NOT SENT"
    return "STALE" if ledger.waiting else "SYNCED"


def _rejections(connection: Connection) -> dict[str, object]:
    errors = {
        column: watch.ledger.error
        for type_url, column in _COLUMNS.items()
        if (watch := connection.session.watches.get(type_url)) and watch.ledger.error
    }
    return {"proxy": connection.proxy_id, "errors": errors} if errors else {}


def _client(connection: Connection) -> dict[str, object]:
    return {
        "connectionId": f"{connection.proxy_id}-{connection.number}",
        "connectedAt": datetime.fromtimestamp(connection.connected, UTC).isoformat(),
        "address": connection.peer.address,
        "identity": str(connection.peer.identity),
        "class": connection.class_name,
        "watches": {
            type_url: sorted(watch.wanted.names)
            for type_url, watch in connection.session.watches.items()
        },
    }
