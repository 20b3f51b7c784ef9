"""Servers: ports with the same limits everywhere.

A service that speaks to tokens and to mesh certificates builds two servers, because a port cannot
ask for an optional client certificate. Plain text is possible only on a Unix socket.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import grpc
import grpc.aio
from msgspec import Struct

from libs.rpc.limits import Limits

Registration = Callable[[grpc.aio.Server], None]
"""Adds a service to a server: `functools.partial(add_XServicer_to_server, servicer)`."""

GRACE_SECONDS = 1.0


class Port(Struct, frozen=True):
    """Where to listen: `host:port` (0: a free one) with credentials, or `unix:<path>` without."""

    address: str
    credentials: grpc.ServerCredentials | None = None


def build(
    services: Sequence[Registration],
    port: Port,
    *,
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    limits: Limits | None = None,
) -> tuple[grpc.aio.Server, int]:
    """Return a server that is bound but not started, and its port number (0 for a Unix socket).

    Raises:
        ValueError: a network address without credentials.
        RuntimeError: the address cannot be bound.

    """
    server = grpc.aio.server(
        interceptors=list(interceptors), options=(limits or Limits()).options()
    )
    for register in services:
        register(server)
    if port.credentials is not None:
        return server, server.add_secure_port(port.address, port.credentials)
    if not port.address.startswith("unix:"):
        message = f"{port.address} would be served in plain text"
        raise ValueError(message)
    server.add_insecure_port(port.address)
    return server, 0


@asynccontextmanager
async def running(
    services: Sequence[Registration],
    port: Port,
    *,
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    limits: Limits | None = None,
) -> AsyncIterator[int]:
    """Build a server and serve until the block ends; yields the port number."""
    server, number = build(services, port, interceptors=interceptors, limits=limits)
    await server.start()
    try:
        yield number
    finally:
        await server.stop(GRACE_SECONDS)
