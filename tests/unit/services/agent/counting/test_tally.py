import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from libs.protos.tally.v1 import tally_pb2
from services.agent import metrics
from services.agent.counting.tally import EXPORT, Tally
from services.agent.streams import server
from tests.support.clock import VirtualClock
from tests.support.tally_messages import message, record


@asynccontextmanager
async def asked(tally: Tally, folder: Path) -> AsyncIterator[grpc.aio.UnaryUnaryMultiCallable]:
    path = folder / "tally"
    async with (
        server.serve(path, tally.handlers),
        grpc.aio.insecure_channel(f"unix:{path}") as channel,
    ):
        yield channel.unary_unary(EXPORT)


async def test_what_is_told_is_on_the_page(tmp_path: Path) -> None:
    tally = Tally(VirtualClock())
    async with asyncio.timeout(60), asked(tally, tmp_path) as export:
        for total in ("10", "25"):
            told = record("7", "TcpPeriodic", "tcp_sent_bytes_total", total)
            assert await export(message(told, reporter="source")) == b""
    assert b'istio_tcp_sent_bytes_total{reporter="source"} 25' in tally.page()


async def test_what_is_malformed_is_refused_and_the_next_is_not(tmp_path: Path) -> None:
    before = metrics.TCP_MESSAGES_REFUSED._value.get()
    tally = Tally(VirtualClock())
    async with asyncio.timeout(60), asked(tally, tmp_path) as export:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await export(message(tally_pb2.Record()))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        await export(message(record("7", "TcpConnectionEnd", "a", "3")))
    assert b"istio_a{} 3" in tally.page()
    assert metrics.TCP_MESSAGES_REFUSED._value.get() == before + 1


async def test_connections_of_an_envoy_that_ended_are_forgotten(tmp_path: Path) -> None:
    tally = Tally(VirtualClock())
    async with asyncio.timeout(60), asked(tally, tmp_path) as export:
        await export(message(record("7", "TcpPeriodic", "a", "3")))
        tally.restarted()
        await export(message(record("7", "TcpPeriodic", "a", "1", began=2)))
    assert b"istio_a{} 4" in tally.page()
