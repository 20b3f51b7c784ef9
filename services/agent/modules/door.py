"""Door: the one way out for what users wrote: each address is judged when it is dialled.

The URL was written by a user, or by a server that a user named: its addresses are judged by
`libs.runtime.reach` after the name was resolved, and the connection goes to the very address that
was judged; so it is at each redirect. What proves who is asking stays with the server that it is
for. How long all of it may take is up to the caller.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from libs.runtime.reach import Reach, UnreachableError, checked, redirected, refusal
from services.agent.http.client import Request, Response, fetch

MAX_REDIRECTS = 3

_PORTS = {"http": 80, "https": 443}
_SECRET = "authorization"  # noqa: S105  # the name of a header

Headers = tuple[tuple[str, str], ...]


class Door(Struct, frozen=True):
    """Which addresses may be asked, and whose certificates are not looked at."""

    reach: Reach
    insecure: frozenset[str] = frozenset()
    """Hosts, with their ports if they have any; `*` is all of them."""
    seconds: float = 30.0

    def is_insecure(self, place: str) -> bool:
        """Tell whether the server at `<host>[:<port>]` need not prove its name."""
        host = place.partition(":")[0]
        return bool({"*", place, host} & self.insecure)

    @asynccontextmanager
    async def open(
        self, url: str, headers: Headers = (), *, form: bytes = b""
    ) -> AsyncIterator[Response]:
        """Ask for `url`, with `form` by POST, and yield what answers after all redirects.

        Raises:
            UnreachableError: it is not asked.
            services.agent.http.client.HttpError: it does not answer.

        """
        url = checked(url)
        for _ in range(MAX_REDIRECTS + 1):
            async with fetch(await self._request(urlsplit(url), headers, form)) as response:
                if form or not 300 <= response.status < 400:
                    yield response
                    return
                target = redirected(url, response.status, response.headers.get("location", ""))
            if _origin(target) != _origin(url):
                headers = tuple(it for it in headers if it[0].lower() != _SECRET)
            url = target
        message = f"more than {MAX_REDIRECTS} redirects"
        raise UnreachableError(message)

    async def _request(self, parts: SplitResult, headers: Headers, form: bytes) -> Request:
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        tls = parts.scheme == "https"
        unproved = tls and self.is_insecure(parts.netloc)
        return Request(
            host=await self._judged(host, port),
            port=port,
            target=target if target.startswith("/") else f"/{target}",
            method="POST" if form else "GET",
            headers=(("Host", parts.netloc), *headers),
            body=form,
            seconds=self.seconds,
            tls=unproved,
            verified=(host, ssl.create_default_context()) if tls and not unproved else None,
        )

    async def _judged(self, host: str, port: int) -> str:
        """Return an address of `host`, none of which may be one that is not asked."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=1)
        addresses = [str(address[0]) for *_, address in found]
        for address in addresses:
            if reason := refusal(address, self.reach):
                raise UnreachableError(reason)
        return addresses[0]


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme]
