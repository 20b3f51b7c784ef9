"""Outgoing requests to addresses that users wrote: what may be reached, and how much is read.

Whoever may write a policy can make this process ask for any URL, from inside the cluster. So every
address is judged at the moment of connecting, after its name was resolved, and again for each
redirect: a name that resolves differently the second time gains nothing. Link-local addresses,
where clouds keep their credentials, are never reached; loopback and private ones as settings say.
Nothing of the caller's goes along: no proxy settings, no cookies, no credentials.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urljoin, urlsplit

import aiohttp
from msgspec import Struct

MAX_BYTES = 1024 * 1024
MAX_REDIRECTS = 3
_SCHEMES = frozenset({"http", "https"})
_MAX_URL = 2048

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


class FetchError(Exception):
    """Nothing usable came; the message says why in words for the user who wrote the URL."""


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


class Outgoing:
    """Fetches documents. Make it with `opened`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, url: str, *, seconds: float) -> bytes:
        """Return the body behind `url`, after at most `seconds` in all.

        Raises:
            FetchError: it cannot be had, or may not.

        """
        try:
            async with asyncio.timeout(seconds):
                return await self._follow(_checked(url))
        except TimeoutError as error:
            message = f"no answer within {seconds:g} s"
            raise FetchError(message) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchError(_words(error)) from error

    async def _follow(self, url: str) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            async with self._session.get(url, allow_redirects=False) as answer:
                if answer.status == 200:
                    return await _read(answer)
                url = _next(url, answer)
        message = f"more than {MAX_REDIRECTS} redirects"
        raise FetchError(message)


@asynccontextmanager
async def opened(reach: Reach) -> AsyncIterator[Outgoing]:
    """Yield a client that may reach what `reach` says."""

    def dial(info: aiohttp.AddrInfoType) -> socket.socket:
        # Called with the address itself, right before connecting to it.
        family, kind, protocol, _, address = info
        if reason := refusal(str(address[0]), reach):
            raise FetchError(reason)
        return socket.socket(family, kind, protocol)

    connector = aiohttp.TCPConnector(
        use_dns_cache=False, force_close=True, limit=16, socket_factory=dial
    )
    async with aiohttp.ClientSession(
        connector=connector,
        trust_env=False,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"accept": "application/json", "accept-encoding": "identity"},
    ) as session:
        yield Outgoing(session)


def _checked(url: str) -> str:
    if len(url) > _MAX_URL or "\\" in url or not url.isprintable():
        message = "not a URL that can be asked"
        raise FetchError(message)
    try:
        found = urlsplit(url)
    except ValueError as error:
        message = "not a URL"
        raise FetchError(message) from error
    if found.scheme not in _SCHEMES or not found.hostname:
        message = "only http and https with a host can be asked"
        raise FetchError(message)
    if "@" in found.netloc:
        message = "a URL with a user or password is not asked"
        raise FetchError(message)
    return found._replace(fragment="").geturl()


def _next(url: str, answer: aiohttp.ClientResponse) -> str:
    to = answer.headers.get("location", "")
    if answer.status not in {301, 302, 303, 307, 308} or not to:
        message = f"status {answer.status}"
        raise FetchError(message)
    found = _checked(urljoin(url, to))
    if url.startswith("https:") and not found.startswith("https:"):
        message = "a redirect from https to http is not followed"
        raise FetchError(message)
    return found


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    if answer.headers.get("content-encoding", "identity") != "identity":
        message = "the answer is compressed, though that was not asked for"
        raise FetchError(message)
    body = bytearray()
    async for piece in answer.content.iter_chunked(64 * 1024):
        body += piece
        if len(body) > MAX_BYTES:
            message = f"the answer has more than {MAX_BYTES} bytes"
            raise FetchError(message)
    return bytes(body)


def _words(error: Exception) -> str:
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, FetchError):
            return str(inner)
        inner = inner.__cause__ or inner.__context__
    return f"{type(error).__name__}: {str(error)[:200]}"
