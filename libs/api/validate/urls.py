"""Rules about URLs that the mesh itself fetches; where they lead is judged by whoever fetches."""

import re
from collections.abc import Set as AbstractSet

from libs.api.validate.hosts import is_address
from libs.api.validate.ports import MAX_PORT

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):(.*)", re.DOTALL)
_HOST = re.compile(r"(?:[^\x00-\x20\x7f\"#%/:<>?@\[\\\]^`{|}]|%[0-9a-fA-F]{2})*")
_PORT = re.compile(r"(?::[0-9]{0,5})?")
_ESCAPES = re.compile(r"(?:[^%\x00-\x20\x7f]|%[0-9a-fA-F]{2})*")


def wrong_url(url: str, schemes: AbstractSet[str]) -> str:
    """Return what is wrong with a full URL, or an empty text."""
    found = _SCHEME.fullmatch(url)
    if not found or found[1].lower() not in schemes:
        return f"{url[:100]!r} must begin with {_listed(schemes)}"
    if not found[2].startswith("//"):
        return f"{url[:100]!r} names no host: write {found[1]}://host/path"
    return _wrong_rest(url, found[2][2:])


def wrong_reference(url: str, schemes: AbstractSet[str]) -> str:
    """Return what is wrong with a URL whose scheme may be left out, or an empty text."""
    found = _SCHEME.fullmatch(url)
    if found:
        if found[1].lower() not in schemes:
            return f"{url[:100]!r} must begin with {_listed(schemes)}, or with a host"
        rest = found[2].removeprefix("//") if found[2].startswith("//") else f"/{found[2]}"
        return _wrong_rest(url, rest)
    return _wrong_rest(url, url)


def _listed(schemes: AbstractSet[str]) -> str:
    return " or ".join(f"{scheme}://" for scheme in sorted(schemes))


def _wrong_rest(url: str, rest: str) -> str:
    """Return what is wrong with all that follows the two slashes, or an empty text."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    place = authority.rpartition("@")[2]
    if place.startswith("["):
        host, bracket, port = place[1:].partition("]")
        right = bool(bracket) and ":" in host and is_address(host)
    else:
        host, colon, number = place.partition(":")
        port, right = colon + number, _HOST.fullmatch(host) is not None
    if not right or not _PORT.fullmatch(port) or int(port[1:] or "0") > MAX_PORT:
        return f"{url[:100]!r} is not a URL: {place[:100]!r} is not a host"
    if not _ESCAPES.fullmatch(rest):
        return f"{url[:100]!r} is not a URL: it has a space, a control character, or a lone '%'"
    return ""
