"""Serving: the HTTPS port, whose certificate is replaced while it serves.

New handshakes get the certificate of that moment; open connections stay as they are. Strangers may
reach the port: handshakes and first requests have deadlines, and connections are counted.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import cast

from aiohttp import web

HANDSHAKE_SECONDS = 5.0
FIRST_REQUEST_SECONDS = 10.0
"""A connection that has asked nothing for this long is closed."""
LINGER_SECONDS = 1.0
"""How long what is left of a refused body is taken in, so that its sender sees the answer."""
IDLE_SECONDS = 90.0
"""API servers keep connections open; a new one costs them a handshake."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ServingCertificate:
    """The TLS side of the port. No handshake succeeds before `use` was called."""

    def __init__(self, client_roots: Path | None = None) -> None:
        """Ask callers for a certificate under `client_roots` (PEM), if they are given."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.set_alpn_protocols(["http/1.1"])
        if client_roots is not None:
            self.context.load_verify_locations(cafile=str(client_roots))
            self.context.verify_mode = ssl.CERT_REQUIRED

    def use(self, key: bytes, chain: bytes) -> None:
        """Use a key and its chain (PEM, leaf first) in every handshake from now on.

        Raises:
            ssl.SSLError: they are broken, or do not belong together; the old ones stay.

        """
        with _in_memory(chain) as certificate, _in_memory(key) as private:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, private)
            self.context.load_cert_chain(certificate, private)


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Yield a path to `content`, which OpenSSL only reads from files; none touches a disk."""
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


@asynccontextmanager
async def serve(
    at: tuple[str, int],
    routes: Iterable[web.AbstractRouteDef],
    certificate: ServingCertificate,
    *,
    max_connections: int = 512,
) -> AsyncIterator[int]:
    """Serve at an address and port until the block ends; yields the port.

    Connections beyond `max_connections` are closed as soon as they are made.

    Raises:
        OSError: the address cannot be bound.

    """
    door = _Door(max_connections)
    application = web.Application(client_max_size=0, middlewares=[door.note])
    application.add_routes(routes)
    runner = web.AppRunner(
        application,
        access_log=None,
        keepalive_timeout=IDLE_SECONDS,
        lingering_time=LINGER_SECONDS,
        shutdown_timeout=5.0,
    )
    await runner.setup()
    server = await asyncio.get_running_loop().create_server(
        door.factory(cast("web.Server", runner.server)),
        *at,
        ssl=certificate.context,
        ssl_handshake_timeout=HANDSHAKE_SECONDS,
    )
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await runner.cleanup()
        await server.wait_closed()


class _Refused(asyncio.Protocol):
    """Ends a connection as soon as it is there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class _Door:
    """Closes connections that are too many, or that say nothing."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._silent: set[asyncio.Protocol] = set()

    @web.middleware
    async def note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Take note that a connection has asked something."""
        if request.protocol is not None:
            self._silent.discard(request.protocol)
        return await handler(request)

    def factory(self, server: web.Server) -> Callable[[], asyncio.Protocol]:
        """Return what makes the protocol of each connection."""
        loop = asyncio.get_running_loop()

        def make() -> asyncio.Protocol:
            if len(self._silent.union(server.connections)) >= self._limit:
                return _Refused()
            protocol = server()
            self._silent.add(protocol)
            loop.call_later(FIRST_REQUEST_SECONDS, self._close_if_silent, protocol)
            return protocol

        return make

    def _close_if_silent(self, protocol: web.RequestHandler) -> None:
        if protocol in self._silent:
            self._silent.discard(protocol)
            protocol.force_close()
