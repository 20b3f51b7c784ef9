"""Debug: pages that show what discovery knows. They answer only callers on the same machine.

`/debug/registryz`: services and their endpoints. `/debug/problems`: what is wrong with the
configuration, with file and line.
"""

import ipaddress
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from services.discovery.feed import Feed
from services.discovery.problems import Problems


def routes(feed: Feed, problems: Problems) -> list[web.RouteDef]:
    """Return the pages."""
    return [
        web.get("/debug/registryz", _page(lambda: _registry(feed))),
        web.get("/debug/problems", _page(lambda: problems.latest)),
    ]


def _page(content: Callable[[], Any]) -> Callable[[web.Request], Any]:
    async def answer(request: web.Request) -> web.Response:
        if not _is_local(request.remote):
            raise web.HTTPForbidden(text="only from this machine\n")
        body = msgspec.json.format(msgspec.json.encode(content()), indent=2)
        return web.Response(body=body, content_type="application/json")

    return answer


def _is_local(address: str | None) -> bool:
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


def _registry(feed: Feed) -> list[dict[str, Any]]:
    mesh = feed.mesh
    return [
        {"service": service, "endpoints": mesh.endpoints.get(key)}
        for key, service in sorted(mesh.services.items())
    ]
