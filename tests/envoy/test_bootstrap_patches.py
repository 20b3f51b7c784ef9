"""The whole way of a patch of the bootstrap: EnvoyFilter, control plane, agent, Envoy, and back."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import Struct

from libs.api import reasons
from libs.protos.feed.v1.feed_pb2 import Problem, WatchProblemsRequest
from libs.protos.feed.v1.feed_pb2_grpc import MeshFeedStub
from tests.support import agent as agents
from tests.support.agent import Agent
from tests.support.control_plane_apps import SYSTEM, Apps, running_apps
from tests.support.ports import free_ports

REF = "EnvoyFilter/shop/p"
FILTER = """
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: p, namespace: shop}
spec:
  configPatches:
    - applyTo: BOOTSTRAP
      patch: {operation: MERGE, value: %s}
"""
SECONDS = 60


class Meeting(Struct):
    """Where an agent finds this control plane: what `agents.agent` asks of a mesh."""

    apps: Apps
    folder: Path
    host: str = "127.0.0.1"

    @property
    def port(self) -> int:
        return self.apps.push.xds

    @property
    def ca_address(self) -> str:
        return f"127.0.0.1:{self.apps.ca.token}"

    @property
    def root_file(self) -> Path:
        return self.apps.folder / "root.pem"

    def token(self, account: str, namespace: str) -> str:
        """Return a token of an account."""
        return self.apps.token(account, namespace)


@pytest.fixture
async def apps(tmp_path: Path, value: str) -> AsyncIterator[Apps]:
    (mtls,) = free_ports(1)
    async with running_apps(tmp_path) as started:
        save(started, value)
        async with (
            started.discovery(config_push_address=f"127.0.0.1:{mtls}"),
            started.config_push(mtls_port=mtls),
        ):
            await started.synced()
            yield started


def save(apps: Apps, value: str) -> None:
    (apps.config / "p.yaml").write_text(FILTER % value)


@asynccontextmanager
async def agent(apps: Apps, folder: Path) -> AsyncIterator[Agent]:
    """Run an agent in a folder of its own."""
    meeting = cast("agents.Mesh", Meeting(apps, folder))
    patient = {"SEINE_BOOTSTRAP_SECONDS": "60"}  # a busy control plane is not one that is away
    async with agents.agent(meeting, environ=patient) as found:
        await found.until(15000, "/server_info", 200)
        yield found


async def flush_interval(found: Agent) -> str:
    body = await found.until(15000, "/config_dump?resource=&mask=bootstrap", 200)
    dump: dict[str, Any] = json.loads(body)["configs"][0]["bootstrap"]
    return str(dump.get("stats_flush_interval", ""))


async def problems_until(
    apps: Apps, reached: Callable[[dict[str, Problem]], bool]
) -> dict[str, Problem]:
    """Return the problems of the EnvoyFilter by reason once they are as they should be."""
    latest: dict[str, Problem] = {}
    async with apps.to_discovery("seine-ctl", SYSTEM) as opened, asyncio.timeout(SECONDS):
        async for update in MeshFeedStub(opened).WatchProblems(WatchProblemsRequest()):
            latest = {one.reason: one for one in update.problems if one.ref == REF}
            if reached(latest):
                return latest
    raise AssertionError(latest)


@pytest.mark.parametrize("value", ["{stats_flush_interval: 7s}"])
async def test_a_later_change_is_said_and_holds_from_the_next_start_on(
    apps: Apps, tmp_path: Path
) -> None:
    async with agent(apps, tmp_path / "first") as first:
        assert await flush_interval(first) == "7s"
        save(apps, "{stats_flush_interval: 9s}")
        found = await problems_until(apps, lambda it: reasons.PATCH_NOT_IN_FORCE in it)
        assert "at the next start" in found[reasons.PATCH_NOT_IN_FORCE].text
        assert await flush_interval(first) == "7s"
    async with agent(apps, tmp_path / "second") as second:
        assert await flush_interval(second) == "9s"
        await problems_until(apps, lambda it: reasons.PATCH_NOT_IN_FORCE not in it)


@pytest.mark.parametrize("value", ["{static_resources: {clusters: [{name: x, type: EDS}]}}"])
async def test_what_envoy_refuses_is_a_problem_in_its_own_words(apps: Apps, tmp_path: Path) -> None:
    async with agent(apps, tmp_path / "first") as found:
        assert not await flush_interval(found)
        said = await problems_until(apps, lambda it: reasons.PATCH_REFUSED in it)
        assert "error initializing configuration" in said[reasons.PATCH_REFUSED].text
        assert said[reasons.PATCH_REFUSED].severity == "error"
