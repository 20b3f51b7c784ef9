"""Client: one connection to a control plane, over TLS, with the name it must prove.

A peer that is silent for KEEPALIVE_SECONDS is asked for a sign of life; one that gives none in
SILENCE_SECONDS is dead, whatever TCP believes.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct

from libs.runtime.clock import SystemClock
from libs.runtime.tasks import background
from services.agent.provisioned import Provisioned
from services.agent.streams.connection import Connection

KEEPALIVE_SECONDS = 30.0
SILENCE_SECONDS = 15.0
CONNECT_SECONDS = 10.0


class DialError(Exception):
    """No connection came to be; the message says why."""


class Target(Struct, frozen=True):
    """Where to connect and whom to believe."""

    address: str
    """`host:port`"""
    server_name: str
    """DNS name that the certificate must carry."""
    root_file: str
    """PEM, read at each connection."""
    provisioned: Provisioned | None = None
    """A certificate to show instead of a token, elsewhere, when that is wanted."""

    @property
    def authority(self) -> str:
        """The name as a request's `:authority`."""
        return f"{self.server_name}:{self.address.rpartition(':')[2]}"


@asynccontextmanager
async def dial(target: Target) -> AsyncIterator[Connection]:
    """Connect, yield the connection while it is used, close it.

    Raises:
        DialError: unreachable, not trusted, or no HTTP/2.

    """
    reader, writer = await _open(target)
    connection = Connection(reader, writer, client=True)
    async with background(connection.run(), _keepalive(connection)):
        try:
            yield connection
        finally:
            connection.close()


async def _open(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    shown = target.provisioned
    if shown is not None and not shown.wanted(SystemClock().now()):
        shown = None
    address = shown.address if shown else target.address
    host, _, port = address.rpartition(":")
    try:
        context = _context(target.root_file, shown)
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(
                host.strip("[]"), int(port), ssl=context, server_hostname=target.server_name
            )
    except (OSError, ValueError, ssl.SSLError) as error:
        message = f"{address}: {str(error) or type(error).__name__}"
        raise DialError(message) from error
    tls: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
    if tls is None or tls.selected_alpn_protocol() != "h2":
        writer.close()
        message = f"{address}: does not speak HTTP/2"
        raise DialError(message)
    return reader, writer


def _context(root_file: str, shown: Provisioned | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(root_file)
    if shown is not None:
        context.load_cert_chain(shown.chain, shown.key)
    context.set_alpn_protocols(["h2"])
    return context


async def _keepalive(connection: Connection) -> None:
    while not connection.leaving.is_set():
        if await _hears(connection, KEEPALIVE_SECONDS):
            continue
        connection.ping()
        if not await _hears(connection, SILENCE_SECONDS):
            connection.abandon("the peer gives no sign of life")
            return


async def _hears(connection: Connection, seconds: float) -> bool:
    connection.heard.clear()
    try:
        async with asyncio.timeout(seconds):
            await connection.heard.wait()
    except TimeoutError:
        return False
    return True
