"""Discovery on a real API server, and what its subscribers get."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import yaml

from libs.kube.client import Client
from libs.kube.errors import BusyError, NotFoundError
from libs.model import wire
from libs.model.mesh import Mesh
from libs.protos.feed.v1 import feed_pb2, feed_pb2_grpc
from libs.runtime.tasks import background
from services.config_push.assembly import Assembly
from services.discovery import app as discovery_app
from tests.support.control_plane_apps import SYSTEM, Apps
from tests.support.kube_apiserver import ApiServer
from tests.support.kube_definitions import PATH as DEFINITIONS
from tests.support.kube_definitions import Definition, definitions
from tests.support.kubeconfig import write_kubeconfig

APPLY = "application/apply-patch+yaml"


class Subscriber:
    """The mesh and the problems as they arrive over the feed."""

    def __init__(self) -> None:
        self._assembly = Assembly()
        self._problems: list[feed_pb2.Problem] = []
        self._changed = asyncio.Event()

    @property
    def mesh(self) -> Mesh:
        return self._assembly.mesh

    @property
    def reasons(self) -> set[str]:
        return {it.reason for it in self._problems}

    def texts(self, reason: str) -> list[str]:
        return [it.text for it in self._problems if it.reason == reason]

    async def until(self, holds: Callable[[], object], seconds: float = 60) -> None:
        """Return once `holds`."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError as error:
            raise AssertionError(f"not so: {self._problems}") from error

    async def follow_mesh(self, stub: "feed_pb2_grpc.MeshFeedAsyncStub") -> None:
        request = feed_pb2.SubscribeRequest(subscriber="test", schema=wire.SCHEMA)
        async for update in stub.Subscribe(request):
            if self._assembly.add(update) is not None:
                self._changed.set()

    async def follow_problems(self, stub: "feed_pb2_grpc.MeshFeedAsyncStub") -> None:
        async for found in stub.WatchProblems(feed_pb2.WatchProblemsRequest()):
            self._problems = list(found.problems)
            self._changed.set()


@asynccontextmanager
async def subscribed(apps: Apps) -> AsyncIterator[Subscriber]:
    """Subscribe to a running discovery."""
    found = Subscriber()
    async with apps.to_discovery("seine-config-push", SYSTEM) as opened:
        stub = feed_pb2_grpc.MeshFeedStub(opened)
        async with background(found.follow_mesh(stub), found.follow_problems(stub)):
            yield found


@asynccontextmanager
async def on_cluster(
    apps: Apps, server: ApiServer, *, token: str = "", **more: object
) -> AsyncIterator[discovery_app.Bound]:
    """Run discovery on an API server, as its administrator or whose token it is."""
    config = write_kubeconfig(server, apps.folder / "discovery.kubeconfig", token=token)
    async with apps.discovery(config_dir=None, kubeconfig=str(config), **more) as bound:
        yield bound


async def define(client: Client, *plurals: str) -> None:
    """Install the CRDs of some kinds, or of all, and wait until they are served."""
    wanted = definitions(*plurals)
    async with asyncio.TaskGroup() as group:
        for definition in wanted:
            group.create_task(_define(client, definition))
    for definition in wanted:
        spec = definition["spec"]
        version, plural = spec["versions"][0]["name"], spec["names"]["plural"]
        await _served(client, f"/apis/{spec['group']}/{version}/{plural}")


async def _define(client: Client, definition: Definition) -> None:
    """Install a CRD, unless a test before has; one that is being removed first has to go."""
    async with asyncio.timeout(60):
        while True:
            try:
                found = await client.get(f"{DEFINITIONS}/{definition['metadata']['name']}")
            except NotFoundError:
                await put(client, DEFINITIONS, definition)
                return
            if "deletionTimestamp" not in found["metadata"]:
                return
            await asyncio.sleep(0.05)  # nothing tells when it has gone


async def _served(client: Client, path: str) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await client.get(path, {"limit": 1})
            except (BusyError, NotFoundError):  # a storage that is made anew says it is busy
                await asyncio.sleep(0.05)  # nothing tells when a path is served
            else:
                return


async def put(client: Client, folder: str, body: dict[str, Any]) -> dict[str, Any]:
    """Apply an object below a path; a status of its own is written to the status."""
    params = {"fieldManager": "test", "force": "true"}
    path = f"{folder}/{body['metadata']['name']}"
    main = {key: value for key, value in body.items() if key != "status"}
    found = await client.request("PATCH", path, params=params, body=main, content_type=APPLY)
    if "status" in body:
        main = {key: value for key, value in body.items() if key != "spec"}
        path = f"{path}/status"
        found = await client.request("PATCH", path, params=params, body=main, content_type=APPLY)
    return dict(found)


_FOLDERS = {
    "Namespace": "/api/v1/namespaces",
    "Node": "/api/v1/nodes",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Service": "/api/v1/namespaces/{}/services",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
    "VirtualService": "/apis/networking.istio.io/v1/namespaces/{}/virtualservices",
    "WorkloadEntry": "/apis/networking.istio.io/v1/namespaces/{}/workloadentries",
    "Telemetry": "/apis/telemetry.istio.io/v1/namespaces/{}/telemetries",
}


async def apply(client: Client, text: str) -> None:
    """Apply manifests, in order, statuses included."""
    for body in yaml.safe_load_all(text):
        await put(client, folder_of(body), body)


async def delete(client: Client, kind: str, namespace: str, name: str) -> None:
    folder = _FOLDERS[kind].format(namespace)
    # A pod of a test has no kubelet that would say that it has ended.
    await client.request("DELETE", f"{folder}/{name}", params={"gracePeriodSeconds": 0})


def folder_of(body: dict[str, Any]) -> str:
    return _FOLDERS[body["kind"]].format(body["metadata"].get("namespace", "default"))


async def until_ready_says(
    bound: discovery_app.Bound,
    status: int,
    text: str = "",
    *,
    without: str | None = None,
    seconds: float = 60,
) -> str:
    """Return what /ready says once it has `text`, and not `without`, in it.

    Nothing tells when, but asking.
    """
    async with asyncio.timeout(seconds):
        while True:
            found, said = await readiness(bound)
            if found == status and text in said and (without is None or without not in said):
                return said
            await asyncio.sleep(0.05)


async def readiness(bound: discovery_app.Bound) -> tuple[int, str]:
    """Return what /ready says."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{bound.monitoring}/ready") as answer,
    ):
        return answer.status, await answer.text()


async def metric(bound: discovery_app.Bound, name: str) -> float:
    """Return the value of a metric without labels."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{bound.monitoring}/metrics") as answer,
    ):
        lines = (await answer.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))
