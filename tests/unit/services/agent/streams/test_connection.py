"""Client and server of `streams` against each other, over a real Unix socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from libs.runtime.tasks import background
from services.agent.streams import server
from services.agent.streams.connection import WINDOW, Connection, Stream, StreamLostError
from services.agent.streams.server import Handler, accept

PATH = "/test.Service/Method"
HEADERS = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", PATH),
    (":authority", "test"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)


@asynccontextmanager
async def connected(folder: Path, handler: Handler) -> AsyncIterator[Connection]:
    path = folder / "socket"
    async with server.serve(path, {PATH: handler}):
        reader, writer = await asyncio.open_unix_connection(path)
        connection = Connection(reader, writer, client=True)
        async with background(connection.run()):
            yield connection
            connection.close()
            await writer.wait_closed()


async def echo(stream: Stream) -> None:
    await accept(stream)
    while data := await stream.read():
        await stream.write(data)
    await stream.finish((("grpc-status", "0"), ("grpc-message", "done")))


async def collect(stream: Stream) -> bytes:
    parts = []
    while data := await stream.read():
        parts.append(data)
    return b"".join(parts)


async def test_bytes_and_trailers_come_back(tmp_path: Path) -> None:
    async with connected(tmp_path, echo) as connection:
        stream = await connection.open(HEADERS)
        await stream.write(b"hello", end=True)
        assert await collect(stream) == b"hello"
        assert stream.headers[":status"] == "200"
        assert stream.trailers == {"grpc-status": "0", "grpc-message": "done"}


async def test_more_than_a_window_passes_both_ways_at_once(tmp_path: Path) -> None:
    sent = bytes(range(256)) * 256 * 40  # ten windows
    async with connected(tmp_path, echo) as connection:
        stream = await connection.open(HEADERS)
        async with asyncio.TaskGroup() as group:
            group.create_task(stream.write(sent, end=True))
            got = group.create_task(collect(stream))
        assert got.result() == sent


async def test_a_receiver_that_does_not_read_stops_its_sender_at_the_window(tmp_path: Path) -> None:
    reading = asyncio.Event()
    started = asyncio.Event()

    async def slow(stream: Stream) -> None:
        await accept(stream)
        started.set()
        await reading.wait()
        size = len(await collect(stream))
        await stream.finish((("grpc-status", "0"), ("size", str(size))))

    async with connected(tmp_path, slow) as connection:
        stream = await connection.open(HEADERS)
        await started.wait()
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(stream.write(b"x" * (WINDOW + 1), end=True))
            _, pending = await asyncio.wait({writing}, timeout=0.2)
            assert pending
            reading.set()
        await collect(stream)
        assert stream.trailers["size"] == str(WINDOW + 1)


async def test_a_method_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    async with connected(tmp_path, echo) as connection:
        other = tuple((k, "/other" if k == ":path" else v) for k, v in HEADERS)
        stream = await connection.open(other)
        assert await collect(stream) == b""
        assert stream.headers["grpc-status"] == "12"


async def test_a_caller_that_goes_away_ends_its_handler(tmp_path: Path) -> None:
    ended = asyncio.Event()
    started = asyncio.Event()

    async def wait(stream: Stream) -> None:
        await accept(stream)
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with connected(tmp_path, wait) as connection:
        stream = await connection.open(HEADERS)
        await started.wait()
        connection.reset(stream)
        await asyncio.wait_for(ended.wait(), 60)
        with pytest.raises(StreamLostError):
            await stream.read()


async def test_the_end_of_the_server_loses_the_stream(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with server.serve(path, {PATH: echo}):
        reader, writer = await asyncio.open_unix_connection(path)
        connection = Connection(reader, writer, client=True)
        running = asyncio.get_running_loop().create_task(connection.run())
        stream = await connection.open(HEADERS)
        await stream.write(b"x")
        assert await stream.read() == b"x"
    with pytest.raises(StreamLostError):
        await stream.read()
    await running
    with pytest.raises(StreamLostError):
        await stream.write(b"x")
    connection.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def test_a_peer_that_does_not_speak_http2_is_disconnected(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with server.serve(path, {PATH: echo}):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 10)
        async with asyncio.timeout(60):
            await reader.read()
        writer.close()
        await writer.wait_closed()


async def test_only_our_own_user_may_connect_and_the_socket_goes(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "socket"
    path.parent.mkdir()
    path.write_text("left behind")
    async with server.serve(path, {}):
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()
