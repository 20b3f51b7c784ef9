"""Reader: who asks for a page: somebody on this machine, or somebody with a token.

Whom a token proves, and who may read what, is not decided here: each page asks for itself.
"""

import ipaddress

from aiohttp import web

_SCHEME = "Bearer "


def is_loopback(remote: str | None) -> bool:
    """Tell whether a caller's address is this machine's own; false if it is unknown."""
    try:
        return ipaddress.ip_address(remote or "").is_loopback
    except ValueError:
        return False


def bearer(request: web.Request) -> str:
    """Return the token that a request shows.

    Raises:
        web.HTTPUnauthorized: it shows none, or several.

    """
    header = request.headers.getall("Authorization", [])
    if len(header) != 1 or not header[0].startswith(_SCHEME):
        raise web.HTTPUnauthorized(text="a token is needed\n")
    return header[0].removeprefix(_SCHEME)
