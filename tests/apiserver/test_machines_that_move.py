"""Machines that come and go, and come back to another control plane, at a real API server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from libs.kube.client import Client
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_apps import KubeApps, kube_apps
from tests.support.kube_machines import (
    CONNECTED_AT,
    DISCONNECTED_AT,
    annotated,
    annotations,
    entries,
    entry,
    machine,
    nobody,
    node,
    prepare,
    token_of,
    until,
)

CONTROLLER = "istio.io/workloadController"
GRACE = 4.0
"""Long enough for a machine to be back in time on a machine that has a lot to do."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(name="apps", scope="module", loop_scope="module")
async def control_plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KubeApps]:
    folder = tmp_path_factory.mktemp("plane")
    with running(tmp_path_factory.mktemp("api")) as server:
        async with kube.client_of(server, folder) as client:
            await prepare(client)
            own = {"machines_grace_seconds": GRACE}
            async with kube_apps(folder, server, client, of_discovery=own) as apps:
                yield apps


@pytest.fixture(name="other_server")
def another_api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("other")) as server:
        yield server


async def test_a_machine_that_comes_back_in_time_stays(apps: KubeApps) -> None:
    client, token = apps.client, await token_of(apps.client)
    async with machine(apps, token):
        before = await until(lambda: entry(client))
    async with machine(apps, token):
        # Whatever was written meanwhile, after the grace it is connected, and the same object.
        await asyncio.sleep(GRACE)
        found = await until(lambda: annotated(client, CONNECTED_AT))
        assert found["metadata"]["uid"] == before["metadata"]["uid"]


async def test_a_storm_of_connects_is_few_writes(apps: KubeApps) -> None:
    """Thirty machines come and go all the time: what is written is bounded by time, not by them."""
    client, token = apps.client, await token_of(apps.client)
    versions: set[str] = set()
    connects = 0

    async def flap(number: int) -> None:
        nonlocal connects
        claimed = node(INSTANCE_IPS=f"10.9.1.{number}")
        for _ in range(10):
            async with machine(apps, token, claimed):
                await asyncio.sleep(0.05)
            connects += 1

    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(flap(number))
        for _ in range(20):
            await asyncio.sleep(0.1)
            found = await entries(client)
            versions |= {it["metadata"]["resourceVersion"] for it in found}
    assert connects == 100
    # At most created, annotated once, and statuses of the status writer: a handful for each.
    assert len(versions) <= 10 * 5, len(versions)
    await until(lambda: nobody(client), seconds=60)


async def test_a_second_control_plane_takes_over(other_server: ApiServer, tmp_path: Path) -> None:
    """The machine moves while everything restarts: its entry stays, and says who has it now."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    own = {"machines_grace_seconds": 60.0}
    async with kube.client_of(other_server, tmp_path) as client:
        await prepare(client)
        token = await token_of(client)
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(
                kube_apps(tmp_path / "one", other_server, client, of_discovery=own)
            )
            await stack.enter_async_context(machine(first, token))
            before = await until(lambda: entry(client))
        async with (
            kube_apps(tmp_path / "two", other_server, client, of_discovery=own) as second,
            machine(second, token),
        ):
            found = await until(lambda: _moved(client, annotations(before)[CONTROLLER]))
            assert found["metadata"]["uid"] == before["metadata"]["uid"]
            assert DISCONNECTED_AT not in annotations(found)


async def _moved(client: Client, from_whom: str) -> Any:  # noqa: ANN401  # JSON
    found = await annotated(client, CONNECTED_AT)
    return found if found and annotations(found)[CONTROLLER] != from_whom else None
