"""Asking discovery, and not waiting for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from libs.protos.feed.v1 import feed_pb2_grpc
from libs.protos.feed.v1.feed_pb2 import DryRunRequest, Problem, ProblemList
from libs.rpc import channel
from services.webhook.validation import foresight
from services.webhook.validation.errors import UnforeseenError
from services.webhook.validation.foresight import Foresight

Context = grpc.aio.ServicerContext[Any, Any]


class Discovery(feed_pb2_grpc.MeshFeedServicer):
    """Finds one thing wrong with everything, or never answers."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.silent = False

    async def DryRun(  # noqa: N802  # the protocol's name
        self, request: DryRunRequest, context: Context
    ) -> ProblemList:
        self.asked.append(request.resource)
        if self.silent:
            await asyncio.Event().wait()
        one = Problem(ref="A/b/c", path="spec.x", reason="R", text="t", severity="warning")
        return ProblemList(problems=[one])


@asynccontextmanager
async def _answering(folder: Path, discovery: Discovery) -> AsyncIterator[Foresight]:
    address = f"unix:{folder}/discovery"
    server = grpc.aio.server()
    feed_pb2_grpc.add_MeshFeedServicer_to_server(discovery, server)
    server.add_insecure_port(address)
    await server.start()
    asking = Foresight(lambda: channel.connect(address, credentials=None))
    try:
        yield asking
    finally:
        await asking.close()
        await server.stop(None)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foresight, "SECONDS", 60.0)


async def test_problems_are_those_that_discovery_foresees(tmp_path: Path) -> None:
    discovery = Discovery()
    async with _answering(tmp_path, discovery) as asking:
        (problem,) = await asking.foresee(b"{}")
        assert (problem.ref, problem.path, problem.severity) == ("A/b/c", "spec.x", "warning")
        asking.renew()
        assert len(await asking.foresee(b"[]")) == 1
        assert discovery.asked == [b"{}", b"[]"]


async def test_a_silent_discovery_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foresight, "SECONDS", 0.05)
    discovery = Discovery()
    discovery.silent = True
    async with _answering(tmp_path, discovery) as asking:
        with pytest.raises(UnforeseenError, match="DEADLINE_EXCEEDED"):
            await asking.foresee(b"{}")


async def test_one_that_is_away_is_said(tmp_path: Path) -> None:
    asking = Foresight(lambda: channel.connect(f"unix:{tmp_path}/nobody", credentials=None))
    with pytest.raises(UnforeseenError, match="UNAVAILABLE"):
        await asking.foresee(b"{}")
    await asking.close()
