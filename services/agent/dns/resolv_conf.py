"""resolv.conf: the network's own servers and the search domains."""

from ipaddress import ip_address

from msgspec import Struct

MAX_SERVERS = 3
"""As many as resolvers use."""


class Resolv(Struct, frozen=True):
    """What of the file matters here."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


def parse(text: str) -> Resolv:
    """Return what a resolv.conf says; what cannot be understood is left out, as resolvers do."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0].startswith(("#", ";")):
            continue
        if words[0] == "nameserver" and _is_address(words[1]):
            servers.append(words[1])
        elif words[0] in {"search", "domain"}:
            search = tuple(word.rstrip(".") for word in words[1:])
    return Resolv(tuple(servers[:MAX_SERVERS]), search)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
