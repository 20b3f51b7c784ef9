"""Peers that cost something: each is cut off, and an honest one is served meanwhile."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import grpc
import grpc.aio
import pytest

from libs.rpc import channel, server, tls
from libs.rpc.limits import Limits
from libs.rpc.peer import Context
from tests.support.grpc_peers import SERVER_NAME, call, server_keychain, test_root, unary

ROOT = test_root()
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7


async def echo(body: bytes, context: Context) -> bytes:
    return body


def serving(limits: Limits) -> AbstractAsyncContextManager[int]:
    credentials = server_keychain(ROOT).server_credentials(mutual=False)
    return server.running([unary(echo)], server.Port("127.0.0.1:0", credentials), limits=limits)


def connected(port: int) -> grpc.aio.Channel:
    return channel.connect(
        f"127.0.0.1:{port}", credentials=tls.trusting(ROOT.root_pem), server_name=SERVER_NAME
    )


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes([kind, flags])
        + struct.pack(">I", stream)
        + payload
    )


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def tcp(port: int, context: ssl.SSLContext | None = None) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        yield reader, writer
    finally:
        writer.close()


def raw(port: int) -> AbstractAsyncContextManager[Streams]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return tcp(port, context)


async def test_handshakes_that_never_end_are_ended_and_honest_peers_served() -> None:
    async with serving(Limits(handshake_seconds=5)) as port, AsyncExitStack() as held:
        silent = [await held.enter_async_context(tcp(port)) for _ in range(100)]
        no_preface = [await held.enter_async_context(raw(port)) for _ in range(20)]
        async with connected(port) as honest, asyncio.timeout(60):
            assert await call(honest, b"x") == b"x"
            for reader, _ in silent + no_preface:
                await reader.read()
            assert await call(honest, b"x") == b"x"


async def test_connections_are_capped() -> None:
    async with (
        serving(Limits(connections=5, handshake_seconds=100)) as port,
        AsyncExitStack() as held,
        asyncio.timeout(60),
    ):
        for _ in range(5):
            await held.enter_async_context(tcp(port))
        reader, _ = await held.enter_async_context(tcp(port))
        assert await reader.read() == b""


async def test_pings_without_data_end_the_connection() -> None:
    async with serving(Limits(ping_interval_seconds=10.0, ping_strikes=2)) as port:
        answer = b""
        async with asyncio.timeout(60), raw(port) as (reader, writer):
            writer.write(PREFACE + frame(SETTINGS))
            for count in range(10_000):
                writer.write(frame(PING, count.to_bytes(8)))
                try:
                    await writer.drain()
                    answer += await asyncio.wait_for(reader.read(65536), 0.01)
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
                if b"too_many_pings" in answer or reader.at_eof():
                    break
        assert b"too_many_pings" in answer
        async with connected(port) as honest:
            assert await call(honest, b"x") == b"x"


@pytest.mark.parametrize(("size", "answered"), [(1000, True), (1001, False)])
async def test_messages_are_capped(size: int, answered: bool) -> None:
    async with serving(Limits(message_bytes=1000)) as port, connected(port) as open_channel:
        answer = await call(open_channel, b"x" * size)
        assert (answer == b"x" * size) is answered
        if not answered:
            assert answer == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_streams_of_one_connection_are_capped() -> None:
    together = 0
    most = 0
    release = asyncio.Event()

    async def wait(body: bytes, context: Context) -> bytes:
        nonlocal together, most
        together += 1
        most = max(most, together)
        if together == 3:
            release.set()
        await release.wait()
        together -= 1
        return body

    credentials = server_keychain(ROOT).server_credentials(mutual=False)
    async with (
        server.running(
            [unary(wait)], server.Port("127.0.0.1:0", credentials), limits=Limits(streams=3)
        ) as port,
        connected(port) as open_channel,
    ):
        answers = await asyncio.gather(*(call(open_channel, b"x") for _ in range(20)))
    # gRPC's client may send more before it has read the server's limit: those are refused unheard.
    assert set(answers) <= {b"x", grpc.StatusCode.UNAVAILABLE}
    assert most == 3


async def test_old_connections_are_asked_to_leave() -> None:
    limits = Limits(age_seconds=0.2, age_grace_seconds=0.1)
    async with serving(limits) as port, asyncio.timeout(60), raw(port) as (reader, writer):
        writer.write(PREFACE + frame(SETTINGS))
        assert b"max_age" in await reader.read()


async def test_two_processes_do_not_share_a_port() -> None:
    async with serving(Limits()) as port:
        credentials = server_keychain(ROOT).server_credentials(mutual=False)
        with pytest.raises(RuntimeError, match="bind"):
            server.build([], server.Port(f"127.0.0.1:{port}", credentials))


async def test_a_channel_between_calls_may_ping_and_stays() -> None:
    often = [
        ("grpc.ssl_target_name_override", SERVER_NAME),
        ("grpc.keepalive_time_ms", 400),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    async with (
        serving(Limits(ping_interval_seconds=0.2)) as port,
        grpc.aio.secure_channel(
            f"127.0.0.1:{port}", tls.trusting(ROOT.root_pem), options=often
        ) as opened,
    ):
        await call(opened, b"x")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):  # a ping a second: strikes would have ended it
                await opened.wait_for_state_change(grpc.ChannelConnectivity.READY)
