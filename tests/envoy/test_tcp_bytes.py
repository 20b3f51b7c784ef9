"""Bytes of connections that last, as two real Envoys tell of them and two agents count them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec import structs

from libs.model.security import MtlsMode
from libs.model.service import Protocol
from libs.model.telemetry import MetricsRule
from services.agent.counting.tally import EXPORT
from services.agent.streams import server
from services.agent.streams.connection import Stream
from tests.support import mesh as rows
from tests.support import tallies, traffic
from tests.support.certificates import TestAuthority
from tests.support.pair import Pair, counted, pair_of, series
from tests.support.workload import Workload

pytestmark = pytest.mark.asyncio(loop_scope="module")

SENT, RECEIVED = "istio_tcp_sent_bytes_total", "istio_tcp_received_bytes_total"
OPENED, CLOSED = "istio_tcp_connections_opened_total", "istio_tcp_connections_closed_total"
EVERY_SECOND = rows.telemetry_policy("often", metrics_interval=1000)
WORKLOAD = Workload(
    ports={"tcp": Protocol.TCP, "other": Protocol.TCP},
    mode=MtlsMode.STRICT,
    telemetry=(EVERY_SECOND,),
    counts_bytes=True,
)


class Line:
    """A connection that stays open; the server answers with as many bytes as it gets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, size: int) -> None:
        """Send so many bytes and wait for the answer."""
        self._writer.write(b"\x00" * size)
        async with asyncio.timeout(60):
            await self._reader.readexactly(size)


@asynccontextmanager
async def line(pair: Pair, name: str = "tcp") -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection(*pair.address(name))
    try:
        yield Line(reader, writer)
    finally:
        writer.close()


@pytest.fixture(scope="module")
def authority() -> TestAuthority:
    return TestAuthority()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    authority: TestAuthority, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pair]:
    async with pair_of(authority, WORKLOAD, tmp_path_factory.mktemp("pair")) as running:
        yield running


async def test_bytes_move_while_a_connection_lasts_and_are_exact_when_it_has_ended(
    pair: Pair,
) -> None:
    async with (
        tallies.counting(pair.client) as source,
        tallies.counting(pair.server.envoy) as destination,
    ):
        async with line(pair) as lasting:
            for sent in (1000, 4000):
                await lasting.send(sent - int(tallies.total(source, SENT)))
                for side in (source, destination):
                    for name in (SENT, RECEIVED):
                        await tallies.reached(side, name, sent)
                        assert tallies.total(side, name) == sent, "nothing is counted twice"
            await lasting.send(500)
        for side, envoy in ((source, pair.client), (destination, pair.server.envoy)):
            for name in (SENT, RECEIVED):
                [(labels, value)] = await tallies.reached(side, name, 4500)
                assert value == 4500
                [(closed, _)] = await counted(envoy, CLOSED)
                assert labels == closed
                assert not await series(envoy, name), "Envoy does not count them as well"


async def test_what_passed_while_nobody_counted_is_not_lost(pair: Pair) -> None:
    async with line(pair) as lasting:
        await lasting.send(3000)
        async with tallies.counting(pair.client) as source:
            await tallies.reached(source, SENT, 3000)
            assert tallies.total(source, SENT) == 3000


async def test_an_agent_that_hangs_holds_no_traffic_up(pair: Pair) -> None:
    asked = asyncio.Event()

    async def never(_: Stream) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with server.serve(pair.client.folder / "tally", {EXPORT: never}), line(pair) as lasting:
        await lasting.send(100)
        async with asyncio.timeout(60):
            await asked.wait()
        for size in (1, 1_000_000):
            await lasting.send(size)
        assert (await traffic.exchange(pair.address("tcp"), b"\x00hello")).status == 1


async def test_what_users_log_is_one_line_for_a_connection(pair: Pair) -> None:
    async with tallies.counting(pair.server.envoy) as destination:
        async with line(pair, "other") as lasting:
            await lasting.send(7777)
            await tallies.reached(destination, SENT, 7777)
            await lasting.send(1)
        logged = await pair.server.envoy.logged(" 7778 7778 ")
    lines = pair.server.envoy.access_log.read_text().splitlines()
    assert [text for text in lines if " 7777 7777 " in text or text == logged] == [logged]


async def test_policies_change_labels_and_switch_metrics_off(
    authority: TestAuthority, tmp_path: Path
) -> None:
    tagged = MetricsRule(
        metric="tcp_sent_bytes_total",
        tags=(("port", "destination.port"), ("none", "request.headers['x']"), ("source_app", None)),
    )
    gone = MetricsRule(metric="tcp_received_bytes_total", side="client", disabled=True)
    policy = rows.telemetry_policy("often", metrics_interval=1000, metrics=(tagged, gone))
    wanted = structs.replace(WORKLOAD, telemetry=(policy,))
    async with (
        pair_of(authority, wanted, tmp_path) as pair,
        tallies.counting(pair.client) as source,
        tallies.counting(pair.server.envoy) as destination,
        line(pair) as lasting,
    ):
        await lasting.send(100)
        [(sent, _)] = await tallies.reached(destination, SENT, 100)
        [(received, _)] = await tallies.reached(destination, RECEIVED, 100)
        await tallies.reached(source, SENT, 100)
        assert not tallies.series(source, RECEIVED)
    assert sent["port"] == str(pair.server.port("tcp")[1])
    assert not sent["none"], "as Envoy shows what has no value"
    assert "source_app" not in sent
    assert "port" not in received
    assert "source_app" in received


async def test_without_an_agent_that_counts_envoy_does_when_connections_end(
    authority: TestAuthority, tmp_path: Path
) -> None:
    wanted = structs.replace(WORKLOAD, counts_bytes=False)
    async with (
        pair_of(authority, wanted, tmp_path) as pair,
        tallies.counting(pair.client) as source,
        line(pair) as lasting,
    ):
        await lasting.send(2000)
        assert (await traffic.exchange(pair.address("tcp"), b"\x00" * 10)).status == 1
        [(_, value)] = await counted(pair.client, SENT)
        assert value == 10, "of the connection that has ended"
        assert not source.page()
        [(_, opened)] = await counted(pair.client, OPENED)
        assert opened == 2
