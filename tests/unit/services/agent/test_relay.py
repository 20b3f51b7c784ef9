"""The relay between a client on a Unix socket and control planes that misbehave."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from libs.runtime.tasks import background
from services.agent import relay as relays
from services.agent.relay import METHODS, Relay
from services.agent.streams import server
from services.agent.streams.connection import Connection, Stream
from services.agent.streams.messages import pack
from services.agent.streams.server import accept, fail
from services.agent.trust import TrustedRoots
from tests.support.clock import VirtualClock
from tests.support.pki import root
from tests.support.relay_plane import NAME, ControlPlane, refuses

FIRST = pack(b"first, with the node")
HEADERS = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", METHODS[0]),
    (":authority", "xds"),
    ("content-type", "application/grpc"),
)


async def answers(_: Connection, stream: Stream) -> None:
    """Greet with what was asked first, then echo until the client is done."""
    await accept(stream)
    while data := await stream.read():
        await stream.write(data)
    await stream.finish((("grpc-status", "0"),))


async def answers_and_hangs_up(connection: Connection, stream: Stream) -> None:
    await accept(stream)
    await stream.write(await stream.read())
    await stream.read()
    connection.close()


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    made = ControlPlane(tmp_path)
    async with made.serving():
        yield made


@asynccontextmanager
async def envoy(folder: Path, relay: Relay) -> AsyncIterator[Connection]:
    """Connect as Envoy would."""
    path = folder / "XDS"
    handlers: dict[str, server.Handler] = dict.fromkeys(METHODS, relay.serve)
    async with server.serve(path, handlers):
        reader, writer = await asyncio.open_unix_connection(path)
        connection = Connection(reader, writer, client=True)
        async with background(connection.run()):
            yield connection
            connection.close()
            await writer.wait_closed()


def relay_to(plane: ControlPlane, clock: VirtualClock | None = None) -> Relay:
    return Relay(plane.target, lambda: "t0", clock=clock, chance=lambda: 0.5)


async def test_bytes_pass_and_the_token_is_added(tmp_path: Path, plane: ControlPlane) -> None:
    plane.behaviours = [answers]
    async with envoy(tmp_path, relay_to(plane)) as connection:
        stream = await connection.open(HEADERS)
        await stream.write(FIRST)
        assert await stream.read() == FIRST
        seen = plane.requests[0].headers
        assert seen["authorization"] == "Bearer t0"
        assert seen[":path"] == METHODS[0]
        assert seen[":authority"] == f"{NAME}:{plane.port}"
        await stream.write(b"", end=True)
        assert await stream.read() == b""
        assert stream.trailers["grpc-status"] == "0"


async def test_until_it_is_answered_envoy_only_waits(tmp_path: Path, plane: ControlPlane) -> None:
    plane.behaviours = [refuses, refuses, answers]
    clock = VirtualClock()
    async with envoy(tmp_path, relay_to(plane, clock)) as connection:
        stream = await connection.open(HEADERS)
        await stream.write(FIRST)
        waited = [await clock.advance_to_next() for _ in range(2)]
        assert await stream.read() == FIRST
        assert waited == [pytest.approx(0.15), pytest.approx(0.3)]


async def test_a_lost_answer_ends_envoys_stream_and_not_its_connection(
    tmp_path: Path, plane: ControlPlane
) -> None:
    plane.behaviours = [answers_and_hangs_up, answers]
    async with envoy(tmp_path, relay_to(plane)) as connection:
        stream = await connection.open(HEADERS)
        await stream.write(FIRST)
        assert await stream.read() == FIRST
        await stream.write(pack(b"second"))
        assert await stream.read() == b""
        assert stream.trailers["grpc-status"] == "14"
        again = await connection.open(HEADERS)
        await again.write(FIRST)
        assert await again.read() == FIRST


async def test_a_server_with_another_name_is_not_spoken_to(tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path)
    plane.certificate_name = "somebody.else.svc"
    clock = VirtualClock()
    async with plane.serving(), envoy(tmp_path, relay_to(plane, clock)) as connection:
        stream = await connection.open(HEADERS)
        await stream.write(FIRST)
        await clock.until_asleep()
        assert plane.requests == []


async def test_what_cannot_be_repeated_any_more_ends_the_stream(
    tmp_path: Path, plane: ControlPlane
) -> None:
    plane.behaviours = [takes_all_and_refuses]
    async with envoy(tmp_path, relay_to(plane)) as connection:
        stream = await connection.open(HEADERS)
        await stream.write(pack(bytes(relays.REPLAY_BYTES + 1)))
        assert await stream.read() == b""
        assert stream.trailers["grpc-status"] == "14"


async def takes_all_and_refuses(_: Connection, stream: Stream) -> None:
    size = 0
    while size <= relays.REPLAY_BYTES:
        size += len(await stream.read())
    await fail(stream, 14, "too much")


async def test_envoy_going_away_ends_the_upstream(tmp_path: Path, plane: ControlPlane) -> None:
    ended = asyncio.Event()

    async def notices(_: Connection, stream: Stream) -> None:
        await accept(stream)
        await stream.write(await stream.read())
        try:
            await stream.read()
        finally:
            ended.set()

    plane.behaviours = [notices]
    async with envoy(tmp_path, relay_to(plane)) as connection:
        stream = await connection.open(HEADERS)
        await stream.write(FIRST)
        await stream.read()
        connection.reset(stream)
        await asyncio.wait_for(ended.wait(), 60)


async def test_when_the_roots_have_changed_streams_are_opened_anew(
    tmp_path: Path, plane: ControlPlane
) -> None:
    plane.behaviours = [answers, answers]
    trusted = TrustedRoots()
    relay = Relay(plane.target, lambda: "t0", trusted=trusted)
    trusted.offer("1", root().root_pem.decode())
    trusted.accept("1")
    before = trusted.header
    async with envoy(tmp_path, relay) as connection:
        stream = await connection.open(HEADERS)
        await stream.write(FIRST)
        assert await stream.read() == FIRST
        trusted.offer("2", root().root_pem.decode())
        trusted.accept("2")
        async with asyncio.timeout(60):
            assert await stream.read() == b""
        assert stream.trailers["grpc-status"] == "14"
        again = await connection.open(HEADERS)
        await again.write(FIRST)
        assert await again.read() == FIRST
    said = [request.headers["seine-trusted-roots"] for request in plane.requests]
    assert said == [before, trusted.header]
    assert before != trusted.header
