"""A proxy that goes on with another replica loses nothing and is sent nothing twice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from envoy.service.discovery.v3 import discovery_pb2

from libs.model.mesh import Mesh
from libs.model.traffic import Destination, HttpRoute, WeightedDestination
from libs.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tests.support.mesh import endpoints, fqdn, mesh, port, routing, service, workload
from tests.support.push_plane import (
    PATIENCE,
    ConnectedProxy,
    RunningPlane,
    identity,
    node,
    running_plane,
)
from tests.support.xds_client import DeltaClient

WEB = service("web", port(80))
Response = discovery_pb2.DeltaDiscoveryResponse
ROUTED = "VirtualService/shop/web"


def _cluster(name: str) -> str:
    return f"outbound|80||{fqdn(name)}"


def _to(name: str) -> HttpRoute:
    return HttpRoute(destinations=(WeightedDestination(Destination(fqdn(name)), 100),))


def _world(target: str, *others: str) -> Mesh:
    """A mesh in which requests to `web` go to `target`."""
    there = [service(name, port(80)) for name in ("web", target, *others)]
    return mesh(
        *there,
        *(endpoints(one, "10.0.0.1") for one in there),
        workload("client", addresses=("10.244.0.9",)),
        routing("web", WEB.host, http=(_to(target),)),
    )


@asynccontextmanager
async def _replica(folder: Path, world: Mesh) -> AsyncIterator[RunningPlane]:
    async with running_plane(folder) as plane:
        plane.change(world)
        yield plane


@pytest.fixture(name="client")
def client_() -> DeltaClient:
    return DeltaClient(node(), follow_clusters=True)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders, for the sockets of two replicas."""
    found = (tmp_path / "a", tmp_path / "b")
    for folder in found:
        folder.mkdir()
    return found


async def _sync(proxy: ConnectedProxy) -> None:
    client = proxy.client
    await proxy.send(
        client.subscribe(CLUSTER), client.subscribe(LISTENER), client.subscribe(ROUTE, ["80"])
    )
    kinds = {CLUSTER, ENDPOINT, LISTENER, ROUTE}
    await proxy.until(lambda seen: seen.versions.keys() >= kinds and not seen.warming)


async def _answers(
    proxy: ConnectedProxy, *, until: str
) -> list[discovery_pb2.DeltaDiscoveryResponse]:
    """Read until a type was answered, and return all that came."""
    found: list[Response] = []
    while not found or found[-1].type_url != until:
        body = await proxy.receive()
        found.append(Response.FromString(body))
    return found


async def test_a_replica_with_the_same_mesh_has_nothing_new(
    client: DeltaClient, folders: tuple[Path, Path]
) -> None:
    world = _world("old")
    async with _replica(folders[0], world) as one, one.stream(client, identity()) as proxy:
        await _sync(proxy)
    async with _replica(folders[1], world) as two, two.stream(client, identity()) as proxy:
        await proxy.send(*client.connect())
        found = await _answers(proxy, until=ROUTE)
    # Endpoints come whole to whoever reconnects, so that clusters that warm do not wait for them.
    news = {it.type_url for it in found if it.resources or it.removed_resources}
    assert news <= {ENDPOINT}
    assert {it.type_url for it in found} >= {CLUSTER, LISTENER, ROUTE}


async def test_what_was_removed_meanwhile_leaves_only_after_the_routes_to_it(
    client: DeltaClient, folders: tuple[Path, Path]
) -> None:
    async with (
        _replica(folders[0], _world("old")) as one,
        one.stream(client, identity()) as proxy,
    ):
        await _sync(proxy)
    assert _cluster("old") in client.versions[CLUSTER]
    async with (
        _replica(folders[1], _world("new")) as two,
        two.stream(client, identity()) as proxy,
    ):
        await proxy.send(*client.connect())
        before = dict(client.versions[ROUTE])
        while _cluster("old") in client.versions[CLUSTER]:
            body = await proxy.receive()
            response = Response.FromString(body)
            if response.type_url == CLUSTER and response.removed_resources:
                assert client.versions[ROUTE] != before
    assert _cluster("new") in client.versions[CLUSTER]


async def test_a_change_has_a_receipt_where_the_proxy_is_now_and_waits_nowhere_else(
    client: DeltaClient, folders: tuple[Path, Path]
) -> None:
    world = _world("old", "new")
    async with (
        _replica(folders[0], world) as one,
        _replica(folders[1], world) as two,
    ):
        async with one.stream(client, identity()) as proxy:
            await _sync(proxy)
            moved = mesh(routing("web", WEB.host, http=(_to("new"),)), before=world)
            left_open = one.change(moved, ROUTED)  # and it leaves before it has answered
        async with two.stream(client, identity()) as proxy:
            await proxy.send(*client.connect())
            await _answers(proxy, until=ROUTE)
            delta = two.change(moved, ROUTED)
            version = client.versions[ROUTE]["80"]
            await proxy.until(lambda seen: seen.versions[ROUTE]["80"] != version)
            receipt = await two.receipt(delta.change, seconds=PATIENCE)
        gone = await one.receipt(left_open.change, seconds=PATIENCE)
    assert (receipt.sent, receipt.acknowledged, receipt.pending) == (1, 1, 0)
    assert (gone.acknowledged, gone.pending) == (0, 0)
