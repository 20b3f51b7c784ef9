"""Messages of gRPC as two real Envoys count them, without holding any of them back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from msgspec import Struct, structs

from libs.model.ids import ref
from libs.model.security import MtlsMode
from libs.model.service import Protocol
from libs.model.telemetry import MetricsRule, TelemetryPolicy
from tests.support import traffic
from tests.support.certificates import TestAuthority
from tests.support.envoy import Envoy
from tests.support.pair import Pair, counted, pair_of, series
from tests.support.workload import Workload

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORKLOAD = Workload(ports={"grpc": Protocol.GRPC, "http": Protocol.HTTP}, mode=MtlsMode.PERMISSIVE)
SERVICE = "test.Shop"
_SECONDS = 60

Call = grpc.aio.StreamStreamCall[bytes, bytes]


@asynccontextmanager
async def shop(address: str, grpc_port: int, http_port: int) -> AsyncIterator[None]:
    """Serve gRPC on one port, where each message is answered by two, and HTTP on the other."""

    async def twice(asked: AsyncIterator[bytes], _: object) -> AsyncIterator[bytes]:
        async for message in asked:
            yield message
            yield message

    async def refuse(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")

    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Twice": grpc.stream_stream_rpc_method_handler(twice),
        "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, methods)])
    server.add_insecure_port(f"{address}:{grpc_port}")
    await server.start()
    try:
        async with traffic.application(address, http_port):
            yield
    finally:
        await server.stop(0)


@pytest.fixture(scope="module")
def authority() -> TestAuthority:
    return TestAuthority()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    authority: TestAuthority, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    async with pair_of(authority, WORKLOAD, folder, application=shop) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def channel(pair: Pair) -> AsyncIterator[grpc.aio.Channel]:
    async with connected(pair) as found:
        yield found


def connected(pair: Pair) -> grpc.aio.Channel:
    host, port = pair.address("grpc")
    options = [("grpc.default_authority", "server")]
    return grpc.aio.insecure_channel(f"{host}:{port}", options=options)


class Counts(Struct, frozen=True):
    """What an Envoy has counted of gRPC: streams that ended, and their messages."""

    streams: float
    requests: float
    responses: float

    def since(self, before: "Counts") -> "Counts":
        return Counts(
            self.streams - before.streams,
            self.requests - before.requests,
            self.responses - before.responses,
        )


async def counts(envoy: Envoy) -> Counts:
    names = ("requests", "request_messages", "response_messages")
    found = [await series(envoy, f"istio_{name}_total", request_protocol="grpc") for name in names]
    return Counts(*(sum(value for _, value in one) for one in found))


async def both(pair: Pair) -> list[Counts]:
    return [await counts(pair.client), await counts(pair.server.envoy)]


async def grown(pair: Pair, before: list[Counts], wanted: list[Counts]) -> list[Counts]:
    """Return by how much both Envoys' counts have grown, as soon as that is what is wanted."""
    found: list[Counts] = []
    try:
        async with asyncio.timeout(_SECONDS):
            while found != wanted:  # a page of the admin interface cannot be awaited
                found = [now.since(old) for now, old in zip(await both(pair), before, strict=True)]
    except TimeoutError:
        pass  # the difference says more
    return found


async def ended(pair: Pair, before: list[Counts]) -> list[Counts]:
    """Return by how much both Envoys' counts have grown, once both have counted answers."""
    found = before
    async with asyncio.timeout(_SECONDS):
        while any(now.responses == old.responses for now, old in zip(found, before, strict=True)):
            found = await both(pair)
    found = await both(pair)  # the pages above were not of one moment
    return [now.since(old) for now, old in zip(found, before, strict=True)]


def twice(channel: grpc.aio.Channel) -> Call:
    return channel.stream_stream(f"/{SERVICE}/Twice")(timeout=_SECONDS, wait_for_ready=True)


async def exchange(call: Call, messages: int) -> None:
    """Send messages, each of them when both answers to the one before it are here."""
    for number in range(messages):
        sent = b"%d" % number
        await call.write(sent)
        assert [await call.read(), await call.read()] == [sent, sent]


async def test_a_stream_that_takes_turns_is_not_held_back_and_is_counted(
    pair: Pair, channel: grpc.aio.Channel
) -> None:
    before = await both(pair)
    call = twice(channel)
    await exchange(call, 5)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    wanted = [Counts(1, 5, 10)] * 2
    assert await grown(pair, before, wanted) == wanted


async def test_messages_have_the_labels_of_requests(pair: Pair, channel: grpc.aio.Channel) -> None:
    before = await both(pair)
    call = twice(channel)
    await exchange(call, 1)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    await grown(pair, before, [Counts(1, 1, 2)] * 2)
    for envoy, reporter in ((pair.client, "source"), (pair.server.envoy, "destination")):
        [(labels, _)] = await series(
            envoy, "istio_requests_total", request_protocol="grpc", grpc_response_status="0"
        )
        assert labels["reporter"] == reporter
        assert labels["source_workload"] == "client-d"
        for name in ("istio_request_messages_total", "istio_response_messages_total"):
            assert [same for same, _ in await series(envoy, name, **labels)] == [labels]


async def test_a_refusal_without_messages_counts_the_request(
    pair: Pair, channel: grpc.aio.Channel
) -> None:
    before = await both(pair)
    refuse: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        f"/{SERVICE}/Refuse"
    )
    refused = refuse(b"which", timeout=_SECONDS)
    assert await refused.code() is grpc.StatusCode.NOT_FOUND
    wanted = [Counts(1, 1, 0)] * 2
    assert await grown(pair, before, wanted) == wanted


async def test_a_stream_that_is_cancelled_is_counted_up_to_its_last_answer(
    pair: Pair, channel: grpc.aio.Channel
) -> None:
    before = await both(pair)
    call = twice(channel)
    await exchange(call, 3)
    call.cancel()
    wanted = [Counts(1, 3, 6)] * 2
    assert await grown(pair, before, wanted) == wanted


async def test_of_a_long_stream_that_is_cancelled_little_is_missing(
    pair: Pair, channel: grpc.aio.Channel
) -> None:
    before = await both(pair)
    call = twice(channel)
    await exchange(call, 100)
    call.cancel()
    for found in await ended(pair, before):
        assert found.streams == 1
        assert 90 <= found.requests <= 100
        assert 180 <= found.responses <= 200


async def test_other_traffic_has_no_such_series_and_no_errors(pair: Pair) -> None:
    assert (await pair.ask()).status == 200
    for envoy in (pair.client, pair.server.envoy):
        assert await counted(envoy, request_protocol="http")
        for name in ("istio_request_messages_total", "istio_response_messages_total"):
            assert not await series(envoy, name, request_protocol="http")
        assert "access logger" not in (envoy.folder / "envoy.log").read_text()


async def test_what_a_policy_says_of_messages(authority: TestAuthority, tmp_path: Path) -> None:
    rules = (
        MetricsRule(metric="request_messages_total", disabled=True),
        MetricsRule(metric="response_messages_total", tags=(("request_host", "request.host"),)),
    )
    policy = TelemetryPolicy(
        ref=ref("Telemetry", "shop", "messages"), namespace="shop", name="messages", metrics=rules
    )
    told = structs.replace(WORKLOAD, others=(policy,))
    async with (
        pair_of(authority, told, tmp_path, application=shop) as pair,
        connected(pair) as channel,
    ):
        before = await both(pair)
        call = twice(channel)
        await exchange(call, 4)
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        wanted = [Counts(1, 4, 8), Counts(1, 0, 8)]
        assert await grown(pair, before, wanted) == wanted, "the client has no such policy"
        name = "istio_response_messages_total"
        [(_, value)] = await series(pair.server.envoy, name, request_host="server")
        assert value == 8
        assert not await series(pair.server.envoy, request_host="server"), "of that one alone"
