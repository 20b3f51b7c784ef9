"""Server: gRPC calls that arrive on a Unix socket, each given to the handler of its path.

Only Envoy, of the same user, connects here, or where there is none a program of the group. At most
MAX_CONNECTIONS are served; a further one is closed at once and counted by nobody but its own retry.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from libs.runtime.tasks import Group
from services.agent.streams.connection import Connection, Stream, StreamLostError

MAX_CONNECTIONS = 16
UNIMPLEMENTED = 12

Handler = Callable[[Stream], Awaitable[None]]
"""Answers one call; it is cancelled when the caller has gone."""

_RESPONSE = ((":status", "200"), ("content-type", "application/grpc"))


async def fail(stream: Stream, code: int, message: str) -> None:
    """End a call that was not answered yet with a gRPC status."""
    status = (("grpc-status", str(code)), ("grpc-message", message))
    await stream.finish((*_RESPONSE, *status))


async def accept(stream: Stream) -> None:
    """Send the headers of a call that will be answered."""
    await stream.respond(_RESPONSE)


@asynccontextmanager
async def serve(
    path: Path,
    handlers: Mapping[str, Handler],
    *,
    by_group: bool = False,
    connections: int = MAX_CONNECTIONS,
) -> AsyncIterator[None]:
    """Serve on `path` until the block ends; a socket file that lies there is replaced.

    Our own user may connect, and with `by_group` who is of the socket's group. Of connections
    beyond so many, each is closed at once.

    Raises:
        OSError: the path cannot be bound.

    """
    listening = _bind(path, 0o117 if by_group else 0o177)
    async with Group() as group:
        open_connections: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(open_connections) >= connections:
                writer.close()
                return
            task = group.create_task(_serve_connection(reader, writer, handlers))
            open_connections.add(task)
            task.add_done_callback(open_connections.discard)

        listener = await asyncio.start_unix_server(connected, sock=listening)
        try:
            yield
        finally:
            listener.close()
            _remove(path)
            for task in list(open_connections):
                task.cancel()


def _bind(path: Path, mask: int) -> socket.socket:
    """Return a socket on `path` that may be connected to by whom `mask` leaves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    before = os.umask(mask)
    try:
        listening.bind(str(path))
    finally:
        os.umask(before)
    return listening


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _serve_connection(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handlers: Mapping[str, Handler]
) -> None:
    calls: dict[int, asyncio.Task[None]] = {}
    async with Group() as group:

        def requested(stream: Stream) -> None:
            handler = handlers.get(stream.headers.get(":path", ""), _unimplemented)
            calls[stream.number] = group.create_task(_answer(connection, stream, handler))
            calls[stream.number].add_done_callback(lambda _: calls.pop(stream.number, None))

        def gone(stream: Stream) -> None:
            if task := calls.get(stream.number):
                task.cancel()

        connection = Connection(
            reader, writer, client=False, on_request=requested, on_stream_gone=gone
        )
        try:
            await connection.run()
        finally:
            connection.close()


async def _answer(connection: Connection, stream: Stream, handler: Handler) -> None:
    try:
        await handler(stream)
    except StreamLostError:
        connection.reset(stream)
    finally:
        connection.release(stream)


async def _unimplemented(stream: Stream) -> None:
    with contextlib.suppress(StreamLostError):
        await fail(stream, UNIMPLEMENTED, "no such method")
