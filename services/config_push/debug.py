"""Debug pages: what each proxy was sent, what it said to that, and what became of changes.

Shapes are Istio's where Istio has the page, so that its tools can read them, with further fields
beside them. A reader on this machine is let in; any other proves itself like a proxy and sees all
of the mesh from the system namespace, and only its own namespace's proxies from any other.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from urllib.parse import parse_qsl

from aiohttp import web
from envoy.service.status.v3.csds_pb2 import ClientConfig
from google.protobuf.any_pb2 import Any as ProtoAny
from msgspec import Struct

from libs.kube.errors import KubeError, TokenRefusedError
from libs.model.endpoint import Locality
from libs.model.ids import SpiffeId
from libs.model.mesh import Mesh
from libs.pki.errors import TokenError
from libs.runtime.reader import bearer, is_loopback
from libs.xds import outcomes
from libs.xds.stream.watch import Watch
from libs.xds.types import (
    CLUSTER,
    ENDPOINT,
    EXTENSION,
    LISTENER,
    NAME_TABLE,
    ROUTE,
    Outcome,
    resource_set,
)
from services.config_push import absent_pages, client_status, config_dump, mesh_pages, scope_page
from services.config_push.authn import Prove
from services.config_push.connection import Connection
from services.config_push.connections import Connections
from services.config_push.push import Pusher
from services.config_push.receipts import ReceiptBook
from services.config_push.receipts_page import ReceiptsPage, described

_COLUMNS = {
    CLUSTER: "cluster",
    LISTENER: "listener",
    ROUTE: "route",
    ENDPOINT: "endpoint",
    EXTENSION: "extension_config",
}
_EVERYTHING = ""
_TYPED = {"edsz": ENDPOINT, "ndsz": NAME_TABLE, "ecdsz": EXTENSION}
AT_ONCE = 2
"""Large pages that are made at one time; whoever asks for more waits."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Query = Mapping[str, str]
Page = Callable[[Query, str], Awaitable[bytes]]
"""Makes a page from its parameters, for a reader of one namespace or of _EVERYTHING."""


class PageError(Exception):
    """There is no such page, or not for this reader; `status` is that of HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Readers(Struct, frozen=True):
    """Who may read what."""

    verify: Prove  # a token
    system_namespace: str


class DebugPages:
    """The pages under /debug, by HTTP and over a stream of configuration."""

    def __init__(
        self, connections: Connections, pusher: Pusher, *, book: ReceiptBook, readers: Readers
    ) -> None:
        self._connections = connections
        self._pusher = pusher
        self._book = book
        self._receipts_page = ReceiptsPage(book)
        self._readers = readers
        self._pages: dict[str, Page] = {
            "syncz": self._syncz,
            "connections": self._list_connections,
            "config_dump": self._config_dump,
            "push_status": self._push_status,
            "receipts": self._receipts,
            "patches": self._patches,
            "adsz": self._adsz,
            "instancesz": self._instancesz,
            "sidecarz": self._sidecarz,
            "list": self._list,
            **{name: partial(self._typed, kind) for name, kind in _TYPED.items()},
            **{name: partial(self._of_mesh, name) for name in mesh_pages.PAGES},
        }
        self._room = asyncio.Semaphore(AT_ONCE)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes for the monitoring port."""
        pages = [web.get(f"/debug/{name}", self._handler(name)) for name in self._pages]
        absent = [web.get(f"/debug/{name}", self._absent) for name in absent_pages.REASONS]
        return [*pages, *absent, web.get("/debug/receipts/watch", self._watch_receipts)]

    async def page(self, written: str, reader: SpiffeId) -> bytes:
        """Return a page as JSON for somebody who has proved who they are.

        `written` is its name with parameters: `syncz`, `config_dump?proxyID=a.b`.

        Raises:
            PageError: there is none, or not for this reader.

        """
        name, _, query = written.partition("?")
        show = self._pages.get(name)
        if show is None:
            raise self._no_page(name)
        parameters = dict(parse_qsl(query, max_num_fields=16))
        return await show(parameters, self._reads_as(reader))

    def statuses(self, reader: SpiffeId) -> list[ClientConfig]:
        """Return how far each proxy is that a reader may see."""
        visible = self._visible(self._reads_as(reader))
        return [client_status.client_config(one) for one in visible if not one.of_agent]

    async def configuration(self, proxy: str, reader: SpiffeId) -> list[ProtoAny]:
        """Return what a proxy should have, as Envoy dumps what it has.

        Raises:
            PageError: there is no such proxy here, or not for this reader.

        """
        found = self._found(proxy, self._reads_as(reader))
        return await asyncio.to_thread(client_status.dump, found.before)

    def _handler(self, name: str) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            reads = await self._reads(request)
            try:
                body = await self._pages[name](request.query, reads)
            except PageError as error:
                return web.Response(status=error.status, text=f"{error}\n")
            return web.Response(body=body, content_type="application/json")

        return handle

    def _no_page(self, name: str) -> PageError:
        why = absent_pages.REASONS.get(name) or f"there are: {' '.join(self._pages)}"
        return PageError(404, f"there is no page {name[:64]!r}; {why}")

    async def _absent(self, request: web.Request) -> web.Response:
        """Answer for a page that istiod has; readers prove themselves as for any other."""
        await self._reads(request)
        error = self._no_page(request.path.rpartition("/")[2])
        return web.Response(status=error.status, text=f"{error}\n")

    async def _watch_receipts(self, request: web.Request) -> web.StreamResponse:
        if await self._reads(request) != _EVERYTHING:
            return web.Response(status=403, text="only for the control plane\n")
        return await self._receipts_page.handle(request)

    async def _syncz(self, _: Query, reads: str) -> bytes:
        visible = self._visible(reads)
        return _json([_sync_status(one) for one in visible if not one.of_agent])

    async def _list_connections(self, _: Query, reads: str) -> bytes:
        visible = self._visible(reads)
        return _json({"totalClients": len(visible), "clients": [_client(one) for one in visible]})

    async def _config_dump(self, query: Query, reads: str) -> bytes:
        proxy = query.get("proxyID", "")
        if not proxy:
            raise PageError(400, "proxyID=<pod>.<namespace> is needed")
        return await asyncio.to_thread(config_dump.render, self._found(proxy, reads).before)

    def _found(self, proxy: str, reads: str) -> Connection:
        visible = self._visible(reads)
        found = [one for one in visible if one.proxy_id == proxy and not one.of_agent]
        if not found:  # the same for absent and forbidden
            raise PageError(404, f"no proxy {proxy[:253]} is connected here")
        return found[-1]

    async def _push_status(self, _: Query, reads: str) -> bytes:
        _only_system(reads)
        latest = self._pusher.round
        return _json(
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

    async def _receipts(self, query: Query, reads: str) -> bytes:
        _only_system(reads)
        found = self._book.receipts(query.get("ref", ""))
        return _json([described(one) for one in found])

    async def _patches(self, _: Query, reads: str) -> bytes:
        """What became of each patch of an EnvoyFilter, at all proxies that are connected here."""
        _only_system(reads)
        sets = {id(one): one for proxy in self._connections for one in proxy.before.values()}
        latest = self._pusher.round
        rows = latest.mesh.patches.values() if latest else ()
        known = [Outcome(row.ref, patch.index, 0) for row in rows for patch in row.patches]
        nowhere = resource_set(LISTENER, (), tuple(known))
        return _json(
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

    async def _adsz(self, query: Query, reads: str) -> bytes:
        """Show the streams with what their nodes say. Nobody is pushed to by reading a page."""
        if query.get("push"):
            raise PageError(405, "a page is read only: a change is pushed by itself")
        proxy = query.get("proxyID", "")
        shown = [self._found(proxy, reads)] if proxy else self._visible(reads)
        return _json({"totalClients": len(shown), "clients": [_ads_client(one) for one in shown]})

    async def _typed(self, type_url: str, query: Query, reads: str) -> bytes:
        """Show what a proxy should have of one type; names are sent on its agent's own stream."""
        proxy = query.get("proxyID", "")
        if not proxy:
            raise PageError(400, "proxyID=<pod>.<namespace> is needed")
        streams = [one for one in self._visible(reads) if one.proxy_id == proxy]
        if not streams:
            raise PageError(404, f"no proxy {proxy[:253]} is connected here")
        having = [one for one in streams if type_url in one.before] or streams
        return await self._made(partial(config_dump.render_type, having[-1].before, type_url))

    async def _of_mesh(self, name: str, query: Query, reads: str) -> bytes:
        _only_system(reads)
        made = partial(mesh_pages.render, name, self._mesh(), query.get("namespace", ""))
        return await self._made(made)

    async def _instancesz(self, _: Query, reads: str) -> bytes:
        _only_system(reads)
        proxies = [one.peer for one in self._connections if not one.of_agent]
        workloads = {one.node_id: one.proxy.workload for one in proxies if one.proxy}
        return await self._made(partial(mesh_pages.instances, self._mesh(), workloads))

    async def _sidecarz(self, query: Query, reads: str) -> bytes:
        _only_system(reads)
        proxy = query.get("proxyID", "")
        if not proxy:
            raise PageError(400, "proxyID=<pod>.<namespace> is needed")
        known = self._found(proxy, reads).peer.proxy
        if known is None:
            raise PageError(404, f"nothing is known of {proxy[:253]} yet")
        return await self._made(partial(scope_page.render, self._mesh(), known))

    async def _list(self, _: Query, reads: str) -> bytes:
        del reads
        return _json(sorted(name for name in self._pages if name != "list"))

    def _mesh(self) -> Mesh:
        latest = self._pusher.round
        if latest is None:
            raise PageError(503, "there is no mesh yet")
        return latest.mesh

    async def _made(self, make: Callable[[], bytes]) -> bytes:
        """Make a large page away from the event loop."""
        async with self._room:
            try:
                return await asyncio.to_thread(make)
            except mesh_pages.TooManyRowsError as error:
                raise PageError(413, str(error)) from error

    def _visible(self, reads: str) -> list[Connection]:
        return [
            one for one in self._connections if reads in {_EVERYTHING, one.peer.identity.namespace}
        ]

    async def _reads(self, request: web.Request) -> str:
        """Return the namespace whose proxies the reader may see, or _EVERYTHING."""
        if is_loopback(request.remote):
            return _EVERYTHING
        token = bearer(request)
        try:
            reader = await self._readers.verify(token)
        except (TokenError, TokenRefusedError) as error:
            raise web.HTTPUnauthorized(text="not authenticated\n") from error
        except KubeError as error:
            raise web.HTTPServiceUnavailable(text="nobody can say who you are\n") from error
        return self._reads_as(reader)

    def _reads_as(self, reader: SpiffeId) -> str:
        own = reader.namespace
        return _EVERYTHING if own == self._readers.system_namespace else own


def _only_system(reads: str) -> None:
    if reads != _EVERYTHING:
        raise PageError(403, "only for the control plane")


def _json(found: object) -> bytes:
    return json.dumps(found).encode()


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
        f"{name}_status": client_status.state(watch),
    }
    if ledger.error:
        column[f"{name}_error"] = ledger.error
        column[f"{name}_error_resources"] = list(ledger.guilty)
        column[f"{name}_error_sources"] = list(ledger.guilty_sources)
    return column


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


def _ads_client(connection: Connection) -> dict[str, object]:
    metadata = dict(connection.peer.metadata)
    proxy = connection.peer.proxy
    place = proxy.locality if proxy else Locality()
    return {
        **_client(connection),
        "labels": metadata.get("LABELS", {}),
        "metadata": metadata,
        "locality": {"region": place.region, "zone": place.zone, "sub_zone": place.subzone},
    }
