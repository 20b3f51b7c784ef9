"""Debug pages: what discovery knows, and what is wrong with the configuration.

`/debug/registryz`: services and their endpoints. `/debug/problems`: what is wrong, with file and
line. `/debug/analysis`: what the analysis of the whole mesh notices beside that, on request.

Who shows a token is whom the API server says, and reads these pages from the system namespace only;
without one a reader is let in on this machine, where `kubectl port-forward` comes from, too.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from libs.kube.errors import KubeError, TokenRefusedError
from libs.runtime.reader import bearer, is_loopback
from services.discovery.analyst import Analyst
from services.discovery.feed import Feed
from services.discovery.problems import Problems

Content = Callable[[], Awaitable[Any]]
NamespaceOf = Callable[[str], Awaitable[str]]
"""Returns the namespace of whom a token proves; raises TokenRefusedError if that is nobody, and
another KubeError if it cannot be known."""


class Readers(Struct, frozen=True):
    """Who may read the pages."""

    system_namespace: str
    namespace_of: NamespaceOf | None = None
    """None: there is no cluster to ask."""


def routes(
    feed: Feed, problems: Problems, *, analyst: Analyst, readers: Readers
) -> list[web.RouteDef]:
    """Return the pages."""

    async def registry() -> list[dict[str, Any]]:
        return _registry(feed)

    async def wrong() -> object:
        return problems.latest

    pages: dict[str, Content] = {
        "registryz": registry,
        "problems": wrong,
        "analysis": analyst.findings,
    }
    return [web.get(f"/debug/{name}", _page(it, readers)) for name, it in pages.items()]


def _page(content: Content, readers: Readers) -> Callable[[web.Request], Any]:
    async def answer(request: web.Request) -> web.Response:
        await _check(request, readers)
        body = msgspec.json.format(msgspec.json.encode(await content()), indent=2)
        return web.Response(body=body, content_type="application/json")

    return answer


async def _check(request: web.Request, readers: Readers) -> None:
    """Let a request pass, or raise why it may not."""
    if "Authorization" not in request.headers and is_loopback(request.remote):
        return
    token = bearer(request)
    if readers.namespace_of is None:
        raise web.HTTPForbidden(text="only from this machine\n")
    try:
        namespace = await readers.namespace_of(token)
    except TokenRefusedError as error:
        raise web.HTTPUnauthorized(text="not authenticated\n") from error
    except KubeError as error:
        raise web.HTTPServiceUnavailable(text="nobody can say who you are\n") from error
    if namespace != readers.system_namespace:
        raise web.HTTPForbidden(text="only for the control plane\n")


def _registry(feed: Feed) -> list[dict[str, Any]]:
    mesh = feed.mesh
    return [
        {"service": service, "endpoints": mesh.endpoints.get(key)}
        for key, service in sorted(mesh.services.items())
    ]
