"""Redirects: where an answer leads that says "look there", for those who follow it.

Kubelet's way, which is that of Go's client: GET again, on the same host only, at whatever port and
scheme; a `Host` header of the first request goes along while locations are relative.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote, urljoin, urlsplit

from msgspec.structs import replace

from services.agent.http.client import HttpError, Request

LIMIT = 10
"""Requests that one probe makes at most."""
_STATUSES = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}
_UNWRITTEN = re.compile(r"%(?![0-9A-Fa-f]{2})")


def next_request(request: Request, status: int, headers: Mapping[str, str]) -> Request | None:
    """Return what to ask after an answer to `request`; None if the answer is the last.

    Raises:
        HttpError: the location is none.

    """
    location = headers.get("location", "")
    if status not in _STATUSES or not location:
        return None
    try:
        there = urlsplit(urljoin(_url(request), location))
        host, port = there.hostname or "", there.port
        relative = not urlsplit(location).scheme
    except ValueError as error:
        message = f"redirects to what is no URL: {error}"
        raise HttpError(message) from error
    if host.lower() != request.host.lower() or there.scheme not in _PORTS:
        return None
    return replace(
        request,
        port=port or _PORTS[there.scheme],
        target=target(there.path, there.query),
        tls=there.scheme == "https",
        headers=request.headers if relative else _without_host(request),
    )


def target(path: str, query: str = "") -> str:
    """Return path and query as they are written in a request: what may not be there is escaped."""
    written = "/" + path.partition("#")[0].lstrip("/") + (f"?{query}" if query else "")
    return quote(_UNWRITTEN.sub("%25", written), safe="/?:@!$&'()*+,;=-._~%[]")


def _url(request: Request) -> str:
    host = f"[{request.host}]" if ":" in request.host else request.host
    return f"{'https' if request.tls else 'http'}://{host}:{request.port}{request.target}"


def _without_host(request: Request) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in request.headers if name.lower() != "host")
