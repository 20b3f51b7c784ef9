"""Outages: discovery without its API server, or without the etcd behind it, and after a restore."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from tests.faults.figures import CLOCK, Figure, Length, Note
from tests.support import kube_accounts as kube
from tests.support.control_plane_apps import Apps, running_apps
from tests.support.kube_discovery import (
    Subscriber,
    apply,
    delete,
    on_cluster,
    readiness,
    subscribed,
    until_ready_says,
)
from tests.support.kube_machine import Machine, machine

RECIPE = "an outage"
SERVICES = 50
SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {}, namespace: shop}}
spec: {{ports: [{{name: http, port: 80}}]}}
"""


class World(NamedTuple):
    """A cluster, its discovery, and who hears of it."""

    kubernetes: Machine
    apps: Apps
    mesh: Subscriber
    folder: Path
    note: Note


def _key(name: str) -> str:
    return f"shop/{name}.shop.svc.cluster.local"


async def measure(folder: Path, length: Length, note: Note) -> None:
    """Take the API server away in every way there is."""
    (folder / "api").mkdir()
    with machine(folder / "api") as kubernetes:
        async with running_apps(folder) as apps:
            async with kube.client_of(kubernetes.server, folder) as client:
                await kube.namespace(client, "shop")
                for number in range(SERVICES):
                    await apply(client, SERVICE.format(f"s{number}"))
            async with on_cluster(apps, kubernetes.server) as bound, subscribed(apps) as mesh:
                await until_ready_says(bound, 200)
                world = World(kubernetes, apps, mesh, folder, note)
                await mesh.until(lambda: len(mesh.mesh.services) > SERVICES)
                await _without_server(world, length.outage)
                await _without_etcd(world, length.outage)
                await _restored(world)
                assert (await readiness(bound))[0] == 200


async def _without_server(world: World, seconds: float) -> None:
    kubernetes = world.kubernetes
    async with _outage(world, f"the API server away for {seconds:.0f} s") as ended:
        await asyncio.to_thread(kubernetes.stop_apiserver)
        await _meanwhile(world, seconds)
        await asyncio.to_thread(kubernetes.start_apiserver)
        await ended()


async def _without_etcd(world: World, seconds: float) -> None:
    kubernetes = world.kubernetes
    async with _outage(world, f"etcd stopped for {seconds:.0f} s (SIGSTOP)") as ended:
        kubernetes.pause_etcd()
        await _meanwhile(world, seconds)
        kubernetes.resume_etcd()
        await ended()


async def _restored(world: World) -> None:
    """Take etcd back to a backup, of which discovery has seen the future."""
    kubernetes, mesh = world.kubernetes, world.mesh
    await asyncio.to_thread(kubernetes.stop)
    kubernetes.back_up()
    await asyncio.to_thread(kubernetes.start)
    async with kube.client_of(kubernetes.server, world.folder) as client:
        for number in range(30):
            await apply(client, SERVICE.format(f"undone-{number}"))
        await delete(client, "Service", "shop", "s0")
    await mesh.until(lambda: _key("undone-29") in mesh.mesh.services, 120)
    await mesh.until(lambda: _key("s0") not in mesh.mesh.services, 120)
    await asyncio.to_thread(kubernetes.stop)
    kubernetes.restore()
    await asyncio.to_thread(kubernetes.start)
    started = CLOCK.monotonic()
    await mesh.until(lambda: _key("s0") in mesh.mesh.services, 120)
    await mesh.until(lambda: not any("undone" in key for key in mesh.mesh.services), 120)
    took = CLOCK.monotonic() - started
    value = f"30 Services that never were gone, one back, {took:.1f} s after the API server was"
    world.note(Figure(RECIPE, "etcd restored from an older backup", value))


async def _meanwhile(world: World, seconds: float) -> None:
    """See that a new replica is not ready, and wait."""
    until = CLOCK.monotonic() + seconds
    async with (
        running_apps(_fresh(world.folder)) as other,
        on_cluster(other, world.kubernetes.server) as bound,
    ):
        statuses = set()
        while CLOCK.monotonic() < until:
            statuses.add((await readiness(bound))[0])
            await CLOCK.sleep(min(1.0, seconds / 4))
    value = f"/ready of a replica that starts: {sorted(statuses)}"
    world.note(Figure(RECIPE, "meanwhile", value, statuses == {503}))


def _fresh(folder: Path) -> Path:
    found = folder / f"replica-{len(list(folder.glob('replica-*')))}"
    found.mkdir()
    return found


@asynccontextmanager
async def _outage(world: World, name: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Watch what subscribers have, and how long after the end they hear of a change."""
    mesh = world.mesh
    fewest = before = len(mesh.mesh.services)
    ended = asyncio.Event()

    async def count() -> None:
        nonlocal fewest
        while not ended.is_set():
            fewest = min(fewest, len(mesh.mesh.services))
            await CLOCK.sleep(0.1)

    async def end() -> None:
        ended.set()
        started = CLOCK.monotonic()
        new = f"after-{len(mesh.mesh.services)}"
        async with kube.client_of(world.kubernetes.server, world.folder) as client:
            await apply(client, SERVICE.format(new))
        written = CLOCK.monotonic()
        await mesh.until(lambda: _key(new) in mesh.mesh.services, 180)
        lost = before - fewest
        value = (
            f"services that proxies lost {lost} of {before}; first write {written - started:.1f} s "
            f"after its end, heard of {CLOCK.monotonic() - written:.1f} s later"
        )
        world.note(Figure(RECIPE, name, value, lost == 0))

    async with asyncio.TaskGroup() as group:
        group.create_task(count())
        yield end
        ended.set()
