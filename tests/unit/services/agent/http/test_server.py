"""Server and client of `http` against each other, and the server against rude clients."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.agent.http import server
from services.agent.http.client import HttpError, Request, fetch
from services.agent.http.server import Answer, Asked, text

asked: list[Asked] = []


async def route(request: Asked) -> Answer:
    asked.append(request)
    if request.path == "/stream":
        return Answer(200, numbers())
    if request.path == "/slow":
        await asyncio.Event().wait()
    return text(200, f"{request.method} {request.path}?{request.query}")


async def numbers() -> AsyncIterator[bytes]:
    for number in range(1000):
        yield b"%d\n" % number


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with server.serve("127.0.0.1", 0, route) as number:
        yield number


async def raw(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 60)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_requests_are_answered(port: int) -> None:
    request = Request(host="127.0.0.1", port=port, target="/a?b=c", headers=(("X-One", "1"),))
    async with fetch(request) as response:
        assert (response.status, await response.text(100)) == (200, "GET /a?b=c\n")
    assert asked[-1].headers["x-one"] == "1"
    assert asked[-1].local


async def test_what_envoy_passes_on_is_not_from_inside(port: int) -> None:
    request = Request(host="127.0.0.1", port=port, target="/", source="127.0.0.6")
    async with fetch(request) as response:
        assert response.status == 200
    assert not asked[-1].local


async def test_a_long_answer_comes_in_pieces(port: int) -> None:
    async with fetch(Request(host="127.0.0.1", port=port, target="/stream")) as response:
        body = b"".join([chunk async for chunk in response.chunks()])
    assert body.splitlines()[-1] == b"999"


async def test_several_requests_on_one_connection(port: int) -> None:
    one = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n"
    last = b"HEAD /y HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    assert (await raw(port, one + one + last)).count(b"HTTP/1.1 200") == 3


async def test_bodies_of_requests_are_skipped_up_to_a_limit(port: int) -> None:
    head = b"POST /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
    assert b"200" in await raw(port, head % 1000 + b"x" * 1000)
    size = server.MAX_BODY + 1
    assert b"200" not in await raw(port, head % size + b"x" * size)


async def test_rude_clients_are_disconnected_and_others_are_served(port: int) -> None:
    assert b"200" not in await raw(port, b"\x16\x03\x01 this is TLS\r\n\r\n")
    assert b"200" not in await raw(port, b"GET / HTTP/1.1\r\nx: " + b"y" * 100_000)
    await test_requests_are_answered(port)


async def test_beyond_the_limit_connections_are_closed(port: int) -> None:
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(server.MAX_CONNECTIONS)]
    try:
        assert await raw(port, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n") == b""
    finally:
        for _, writer in idle:
            writer.close()


async def test_a_client_gives_up_in_time(port: int) -> None:
    with pytest.raises(HttpError, match="in time"):
        async with fetch(Request(host="127.0.0.1", port=port, target="/slow", seconds=0.05)):
            pass


async def test_nobody_there_and_nonsense_are_errors() -> None:
    with pytest.raises(HttpError):
        async with fetch(Request(host="127.0.0.1", port=1, target="/")):
            pass

    async def nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\0\1\2\3\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    number = listener.sockets[0].getsockname()[1]
    with pytest.raises(HttpError):
        async with fetch(Request(host="127.0.0.1", port=number, target="/")):
            pass
    listener.close()
