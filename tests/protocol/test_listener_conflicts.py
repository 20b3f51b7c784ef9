"""The whole way of a conflict: a service that lost a listener at some proxy is told."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiohttp

from libs.api import reasons
from libs.protos.feed.v1.feed_pb2 import Problem, WatchProblemsRequest
from libs.protos.feed.v1.feed_pb2_grpc import MeshFeedStub
from libs.xds.types import LISTENER
from tests.support.control_plane_apps import SYSTEM, Apps, running_apps
from tests.support.ports import free_ports

SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {0}, namespace: shop, creationTimestamp: "{1}-01-01T00:00:00Z"}}
spec: {{clusterIP: {2}, ports: [{{name: tcp, port: 5432}}]}}
"""
SECONDS = 60


async def conflicts_until(
    apps: Apps, reached: Callable[[dict[str, Problem]], object]
) -> dict[str, Problem]:
    """Return the conflicts by who lost once they are as they should be."""
    latest: dict[str, Problem] = {}
    async with apps.to_discovery("seine-ctl", SYSTEM) as opened, asyncio.timeout(SECONDS):
        async for update in MeshFeedStub(opened).WatchProblems(WatchProblemsRequest()):
            conflicts = (it for it in update.problems if it.reason == reasons.LISTENER_CONFLICT)
            latest = {it.ref: it for it in conflicts}
            if reached(latest):
                return latest
    raise AssertionError(latest)


async def counted(port: int, text: str) -> bool:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        return text in (await answer.text()).splitlines()


def save(apps: Apps, name: str, year: int, address: str) -> None:
    (apps.config / f"{name}.yaml").write_text(SERVICE.format(name, year, address))


async def test_who_lost_a_listener_is_a_problem_for_as_long_as_it_has(tmp_path: Path) -> None:
    (mtls,) = free_ports(1)
    async with running_apps(tmp_path) as apps:
        save(apps, "older", 2020, "10.96.0.1")
        save(apps, "newer", 2021, "10.96.0.1")
        async with (
            apps.discovery(config_push_address=f"127.0.0.1:{mtls}"),
            apps.config_push(mtls_port=mtls),
        ):
            await apps.synced()
            async with apps.proxy([f"Bearer {apps.token('default')}"]) as proxy:
                await proxy.send(proxy.client.subscribe(LISTENER))
                await proxy.until(
                    lambda client: "10.96.0.1_5432" in client.versions.get(LISTENER, {})
                )
                found = await conflicts_until(apps, lambda it: it)
                assert found.keys() == {"Service/shop/newer"}
                said = found["Service/shop/newer"]
                assert "10.96.0.1_5432 stays with Service/shop/older" in said.text
                assert (said.severity, Path(said.file).name) == ("warning", "newer.yaml")
                name = 'seine_push_listener_conflicts{reason="TCP over TCP"}'
                assert await counted(apps.push.monitoring, f"{name} 1.0")
                save(apps, "newer", 2021, "10.96.0.2")
                await conflicts_until(apps, lambda it: not it)
                assert await counted(apps.push.monitoring, f"{name} 0.0")
