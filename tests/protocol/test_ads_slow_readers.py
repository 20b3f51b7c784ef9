"""Proxies that do not read cost themselves their stream, and the others nothing."""

import asyncio
import gc
from pathlib import Path

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from msgspec import structs
from prometheus_client import REGISTRY

from libs.model.mesh import Mesh
from libs.model.settings import MeshSettings
from libs.xds.types import CLUSTER
from tests.support.clock import settle
from tests.support.mesh import mesh, port, service
from tests.support.push_plane import LIMITS, PATIENCE, ConnectedProxy, RunningPlane, running_plane

SERVICES = 300
SMALL_WINDOW = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_535)]
ENOUGH = 3
"""Pushes: if the honest one had to wait for the stalled one, it would get the first or second."""


def _world(timeout: int, before: Mesh | None = None) -> Mesh:
    """A mesh of which each cluster depends on `timeout`, so that a change is a large response."""
    rows = [] if before else [service(f"s{number}", port(80)) for number in range(SERVICES)]
    return mesh(*rows, MeshSettings(connect_timeout=timeout), before=before)


async def _clusters(proxy: ConnectedProxy) -> None:
    response = discovery_pb2.DeltaDiscoveryResponse()
    while response.type_url != CLUSTER or len(response.resources) < SERVICES:
        response = discovery_pb2.DeltaDiscoveryResponse.FromString(await proxy.receive())


def _sample(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


async def test_who_does_not_read_holds_up_nobody_and_loses_its_stream(tmp_path: Path) -> None:
    limits = structs.replace(LIMITS, stall=20.0)
    async with running_plane(tmp_path, limits=limits) as running:
        running.change(_world(1000))
        async with (
            running.proxy("stalled", options=SMALL_WINDOW) as stalled,
            running.proxy() as honest,
        ):
            await stalled.send(stalled.client.subscribe(CLUSTER))
            await honest.send(honest.client.subscribe(CLUSTER))
            await _clusters(honest)
            merged = _sample("seine_push_coalesced_total")
            pushes = await _push_until_gone(running, honest)

            assert pushes >= ENOUGH
            assert _sample("seine_push_coalesced_total") > merged
            assert [one.proxy_id for one in running.plane.connections] == ["client.shop"]
            # When it reads again, it learns that it has to come back.
            assert await stalled.ended() is grpc.StatusCode.UNAVAILABLE


async def _push_until_gone(running: RunningPlane, honest: ConnectedProxy) -> int:
    """Push until the stalled one is cut off; return how often the honest one had it before."""
    async with asyncio.timeout(2 * PATIENCE):
        timeout = 1000
        while len(running.plane.connections) > 1:
            timeout += 1
            running.change(_world(timeout, before=running.mesh))
            await _clusters(honest)
            waiting = [one for one in running.plane.connections if one.proxy_id != "client.shop"]
            assert all(len(one._bodies) <= 2 for one in waiting)
    return timeout - 1000


async def test_streams_that_come_and_go_leave_nothing_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_plane(tmp_path) as running:
        running.change(_world(1000))
        await _come_and_go(running, 5)
        await _calls_ended()
        gc.collect()
        tasks, files = len(asyncio.all_tasks()), _open_files()
        await _come_and_go(running, 15)
        await _calls_ended()
        async with asyncio.timeout(PATIENCE):
            while len(asyncio.all_tasks()) > tasks or _open_files() > files:
                gc.collect()
                await settle()

        assert "stream failed" not in caplog.text
        assert not len(running.plane.connections)
        assert not running.plane.pusher.waiting


async def _come_and_go(running: RunningPlane, times: int) -> None:
    for number in range(times):
        async with running.proxy() as proxy:
            await proxy.send(proxy.client.subscribe(CLUSTER))
            await proxy.read()
            running.change(_world(2000 + number, before=running.mesh))
    async with asyncio.timeout(PATIENCE):
        while len(running.plane.connections):
            await settle()


async def _calls_ended() -> None:
    """Wait until gRPC has ended the tasks of all calls but the one that waits for the next."""
    async with asyncio.timeout(PATIENCE):
        while sum(task.get_name() == "rpc_task" for task in asyncio.all_tasks()):
            await settle()


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
