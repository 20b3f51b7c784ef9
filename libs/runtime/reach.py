"""Reach: which addresses may be asked on behalf of users who wrote a URL, and which URLs.

Whoever may write a policy can make a process of ours ask for any URL, from inside the cluster. So
every address is judged at the moment of connecting, after its name was resolved, and again for each
redirect: a name that resolves differently the second time gains nothing. Link-local addresses,
where clouds keep their credentials, are never reached; loopback and private ones as settings say.
"""

import ipaddress
from urllib.parse import urljoin, urlsplit

from msgspec import Struct

_SCHEMES = frozenset({"http", "https"})
_MAX_URL = 2048
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

_NEVER = tuple(
    map(
        ipaddress.ip_network,
        (
            "169.254.0.0/16",
            "fe80::/10",
            "100.100.100.200/32",  # metadata of Alibaba Cloud, in a range that is else private
            "168.63.129.16/32",  # Azure's, in a range that is else public
            "fd00:ec2::/32",  # Amazon's, in a range that is else private
            "192.0.0.192/32",  # Oracle's
        ),
    )
)
_CARRIER = ipaddress.ip_network("100.64.0.0/10")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class UnreachableError(Exception):
    """A URL that is not asked; the message says why in words for the user who wrote it."""


class Reach(Struct, frozen=True):
    """Which addresses of our own surroundings may be asked."""

    loopback: bool = False
    private: bool = True


def refusal(address: str, reach: Reach) -> str:
    """Return why an IP address may not be connected to, or nothing if it may."""
    found = _innermost(ipaddress.ip_address(address.partition("%")[0]))
    if any(found in network for network in _NEVER if network.version == found.version):
        return f"{found} is a link-local or metadata address, which is never asked"
    if found.is_multicast or found.is_unspecified or (found.is_reserved and found.version == 4):
        return f"{found} is not the address of a server"
    if found.is_loopback:
        return "" if reach.loopback else f"{found} is a loopback address"
    inside = found.is_private or (found.version == 4 and found in _CARRIER)
    return f"{found} is a private address" if inside and not reach.private else ""


def _innermost(found: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped or found.sixtofour:
            return found.ipv4_mapped or found.sixtofour or found
        if found.teredo:
            return found.teredo[1]
        if found in _NAT64 or (found.packed[:12] == bytes(12) and int(found) > 1):
            return ipaddress.IPv4Address(found.packed[12:])
    return found


def checked(url: str) -> str:
    """Return `url` as it is asked.

    Raises:
        UnreachableError: it never is.

    """
    if len(url) > _MAX_URL or "\\" in url or not url.isprintable():
        message = "not a URL that can be asked"
        raise UnreachableError(message)
    try:
        found = urlsplit(url)
    except ValueError as error:
        message = "not a URL"
        raise UnreachableError(message) from error
    if found.scheme not in _SCHEMES or not found.hostname:
        message = "only http and https with a host can be asked"
        raise UnreachableError(message)
    if "@" in found.netloc:
        message = "a URL with a user or password is not asked"
        raise UnreachableError(message)
    return found._replace(fragment="").geturl()


def redirected(url: str, status: int, location: str) -> str:
    """Return where an answer of `status` leads.

    Raises:
        UnreachableError: nowhere, or to where nobody is asked.

    """
    if status not in _REDIRECTS or not location:
        message = f"status {status}"
        raise UnreachableError(message)
    found = checked(urljoin(url, location))
    if url.startswith("https:") and not found.startswith("https:"):
        message = "a redirect from https to http is not followed"
        raise UnreachableError(message)
    return found
