from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import grpc.aio
import pytest

from libs.model.ids import SpiffeId
from libs.rpc import channel, interceptors, server, tls
from libs.rpc.health import Health
from libs.rpc.peer import Context
from tests.support.grpc_peers import (
    SERVER_NAME,
    STREAM,
    UNARY,
    call,
    material,
    server_keychain,
    stream,
    test_root,
    unary,
)

ROOT = test_root()
DISCOVERY = SpiffeId("cluster.local", "istio-system", "seine-discovery")
WORKLOAD = SpiffeId("cluster.local", "shop", "seine-discovery")
CODES = grpc.StatusCode


class LostError(Exception):
    pass


class VeryLostError(LostError):
    pass


async def echo(body: bytes, context: Context) -> bytes:
    return body


async def double(bodies: AsyncIterator[Any], context: Context) -> AsyncIterator[bytes]:
    async for body in bodies:
        yield body
        yield body


def serving(
    registrations: list[server.Registration], *around: grpc.aio.ServerInterceptor
) -> AbstractAsyncContextManager[int]:
    credentials = server_keychain(ROOT).server_credentials(mutual=True)
    port = server.Port("127.0.0.1:0", credentials)
    return server.running(registrations, port, interceptors=around)


def connected(port: int, identity: SpiffeId = DISCOVERY) -> grpc.aio.Channel:
    credentials = tls.Keychain(material(ROOT, identity)).channel_credentials()
    return channel.connect(f"127.0.0.1:{port}", credentials=credentials, server_name=SERVER_NAME)


def allow(**methods: list[str]) -> grpc.aio.ServerInterceptor:
    named = {f"/test.Service/{name}": accounts for name, accounts in methods.items()}
    return interceptors.allow(named, trust_domain="cluster.local", namespace="istio-system")


async def test_each_method_is_open_to_the_accounts_that_are_named() -> None:
    callers = [
        (DISCOVERY, b""),
        (SpiffeId("cluster.local", "istio-system", "seine-console"), CODES.PERMISSION_DENIED),
        (WORKLOAD, CODES.PERMISSION_DENIED),
        (SpiffeId("other.domain", "istio-system", "seine-discovery"), CODES.PERMISSION_DENIED),
    ]
    async with serving([unary(echo)], allow(Unary=["seine-discovery"])) as port:
        for identity, expected in callers:
            async with connected(port, identity) as open_channel:
                assert await call(open_channel) == expected, identity


async def test_a_method_that_is_not_named_is_closed() -> None:
    async with (
        serving([unary(echo)], allow(Other=["seine-discovery"])) as port,
        connected(port) as open_channel,
    ):
        assert await call(open_channel) == CODES.PERMISSION_DENIED


async def test_the_negative_control_without_the_list_everybody_gets_in() -> None:
    async with serving([unary(echo)]) as port, connected(port, WORKLOAD) as open_channel:
        assert await call(open_channel) == b""


async def test_no_body_is_decoded_for_somebody_who_is_refused() -> None:
    decoded: list[bytes] = []

    def decode(body: bytes) -> bytes:
        decoded.append(body)
        return body

    guard = allow(Unary=["seine-discovery"], Stream=["seine-discovery"])
    async with serving([unary(echo, decode), stream(double, decode)], guard) as port:
        async with connected(port, WORKLOAD) as stranger:
            assert await call(stranger, b"poison") == CODES.PERMISSION_DENIED
            assert await talk(stranger) == CODES.PERMISSION_DENIED
        assert decoded == []
        async with connected(port) as friend:
            assert await call(friend, b"hello") == b"hello"
            assert await talk(friend) == [b"a", b"a"]
    assert decoded == [b"hello", b"a"]


async def talk(open_channel: grpc.aio.Channel) -> list[bytes] | grpc.StatusCode:
    """Return what a stream answers, or the code with which it was refused."""

    async def bodies() -> AsyncIterator[bytes]:
        yield b"a"

    try:
        return [answer async for answer in open_channel.stream_stream(STREAM)(bodies())]
    except grpc.aio.AioRpcError as error:
        return error.code()


async def test_errors_become_codes_and_their_text_stays_here() -> None:
    raised: list[Exception] = []
    noted: list[tuple[str, Exception]] = []

    async def fail(body: bytes, context: Context) -> bytes:
        raise raised[-1]

    mapping = interceptors.map_errors(
        {LostError: CODES.NOT_FOUND, OSError: CODES.UNAVAILABLE},
        lambda method, error: noted.append((method, error)),
    )
    async with serving([unary(fail)], mapping) as port, connected(port) as open_channel:
        for error, code in [
            (LostError("secret"), CODES.NOT_FOUND),
            (VeryLostError("secret"), CODES.NOT_FOUND),
            (ConnectionError("secret"), CODES.UNAVAILABLE),
            (ZeroDivisionError("secret"), CODES.INTERNAL),
        ]:
            raised.append(error)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await open_channel.unary_unary(UNARY)(b"")
            assert caught.value.code() == code
            assert caught.value.details() == code.name.lower().replace("_", " ")
            assert noted[-1] == (UNARY, error)


async def test_a_handlers_own_abort_keeps_its_code() -> None:
    async def abort(body: bytes, context: Context) -> bytes:
        await context.abort(CODES.DATA_LOSS, "gone")
        return b""

    noted: list[Exception] = []
    mapping = interceptors.map_errors({}, lambda _, error: noted.append(error))
    async with serving([unary(abort)], mapping) as port, connected(port) as open_channel:
        assert await call(open_channel) == CODES.DATA_LOSS
    assert noted == []


async def test_calls_are_observed_with_their_codes() -> None:
    seen: list[tuple[str, str]] = []

    def started(method: str) -> Callable[[str], None]:
        return lambda code: seen.append((method, code))

    async def fail(body: bytes, context: Context) -> bytes:
        if body:
            raise LostError
        return body

    around = [
        interceptors.observe(started),
        interceptors.map_errors({LostError: CODES.NOT_FOUND}, lambda *_: None),
    ]
    async with serving([unary(fail)], *around) as port, connected(port) as open_channel:
        await call(open_channel)
        await call(open_channel, b"x")
    assert seen == [(UNARY, "OK"), (UNARY, "NOT_FOUND")]


async def test_unknown_methods_stay_unimplemented() -> None:
    async with (
        serving([unary(echo)], interceptors.map_errors({}, lambda *_: None)) as port,
        connected(port) as open_channel,
    ):
        assert await call(open_channel, method="/test.Service/Nothing") == CODES.UNIMPLEMENTED


async def test_health_is_open_to_every_verified_peer() -> None:
    health = Health()
    check = "/grpc.health.v1.Health/Check"
    async with (
        serving([health.register], allow()) as port,
        connected(port, WORKLOAD) as open_channel,
    ):
        assert await call(open_channel, method=check) == b"\x08\x01"
        await health.set(serving=False)
        assert await call(open_channel, method=check) == b"\x08\x02"
