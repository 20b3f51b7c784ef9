"""config-push over real gRPC: what a proxy is sent, and what it is told about changes."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from msgspec import structs

from libs.protos.receipts.v1.receipts_pb2 import Receipt
from libs.rpc.limits import Limits as ServerLimits
from libs.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from services.config_push.ads import SERVICE
from services.config_push.settings import Settings
from tests.support.mesh import (
    access_policy,
    endpoints,
    fqdn,
    mesh,
    port,
    service,
    workload,
)
from tests.support.push_plane import (
    ConnectedProxy,
    RunningPlane,
    identity,
    node,
    running_plane,
)
from tests.support.xds_client import DeltaClient, Verdict

REVIEWS = service("reviews", port(9080))
REVIEWS_CLUSTER = f"outbound|9080||{fqdn('reviews')}"
WORLD = mesh(REVIEWS, endpoints(REVIEWS, "10.0.0.1"), workload("client", addresses=("10.244.0.9",)))


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[RunningPlane]:
    async with running_plane(tmp_path) as plane:
        yield plane


def _has(type_url: str, name: str) -> Callable[[DeltaClient], bool]:
    return lambda client: name in client.versions.get(type_url, {})


async def _synced(proxy: ConnectedProxy) -> None:
    """Ask for everything that an Envoy asks for, and take it over."""
    client = proxy.client
    await proxy.send(
        client.subscribe(CLUSTER), client.subscribe(LISTENER), client.subscribe(ROUTE, ["9080"])
    )
    for type_url, name in ((ENDPOINT, REVIEWS_CLUSTER), (LISTENER, "virtualInbound")):
        await proxy.until(_has(type_url, name))
    await proxy.until(_has(ROUTE, "9080"))


async def test_a_proxy_gets_clusters_and_their_endpoints(running: RunningPlane) -> None:
    running.change(WORLD)
    async with running.proxy() as proxy:
        await _synced(proxy)

        assert REVIEWS_CLUSTER in proxy.client.versions[CLUSTER]
        assert REVIEWS_CLUSTER not in proxy.client.warming


async def test_a_moved_endpoint_is_pushed_alone_and_has_a_receipt(running: RunningPlane) -> None:
    running.change(WORLD)
    async with running.proxy() as proxy:
        await _synced(proxy)
        moved = mesh(endpoints(REVIEWS, "10.0.0.2"), before=WORLD)
        delta = running.change(moved, "EndpointSlice/shop/reviews")
        response = discovery_pb2.DeltaDiscoveryResponse.FromString(await proxy.receive())
        receipt = await running.receipt(delta.change)

    assert response.type_url == ENDPOINT
    assert [item.name for item in response.resources] == [REVIEWS_CLUSTER]
    assert (receipt.connected, receipt.sent, receipt.acknowledged) == (1, 1, 1)
    assert list(receipt.causes) == ["EndpointSlice/shop/reviews"]
    assert receipt.milliseconds > 0


async def test_a_proxy_that_a_change_does_not_concern_is_sent_nothing(
    running: RunningPlane,
) -> None:
    running.change(WORLD)
    async with running.proxy() as proxy, running.proxy("other", "bank") as other:
        await _synced(proxy)
        await _synced(other)
        hidden = service("ledger", port(80), namespace="bank", export_to=(".",))
        delta = running.change(mesh(hidden, before=WORLD), "Service/bank/ledger")
        await other.until(_has(CLUSTER, f"outbound|80||{fqdn('ledger', 'bank')}"))
        await other.until(lambda client: not client.warming - {REVIEWS_CLUSTER} - _inbound(client))
        receipt = await running.receipt(delta.change)

    assert not any("ledger" in name for name in proxy.client.versions[CLUSTER])
    assert (receipt.connected, receipt.sent, receipt.acknowledged) == (2, 1, 1)


def _inbound(client: DeltaClient) -> set[str]:
    return {name for name in client.warming if not name.startswith("outbound|")}


async def test_a_refused_change_is_told_with_its_sources_and_not_sent_again(
    running: RunningPlane,
) -> None:
    running.change(WORLD)
    async with running.proxy() as proxy, running.proxy("second") as second:
        await _synced(proxy)
        await _synced(second)
        before = dict(proxy.client.versions[ROUTE])
        ratings = service("ratings", port(9080))
        changed = mesh(ratings, endpoints(ratings, "10.0.0.8"), before=WORLD)
        delta = running.change(changed, "Service/shop/ratings")
        text = "Only unique values for domains are permitted, route configuration 9080"
        answered: list[str] = []
        await proxy.until(lambda _: ROUTE in answered, _refuse(ROUTE, text, answered))
        await second.until(lambda client: client.versions[ROUTE] != before)
        await second.until(_has(ENDPOINT, f"outbound|9080||{fqdn('ratings')}"))
        receipt: Receipt = await running.receipt(delta.change)

        running.change(mesh(endpoints(REVIEWS, "10.0.0.2"), before=changed))
        await proxy.until(lambda _: answered[-1] == ENDPOINT, _refuse(ROUTE, text, answered))

    assert answered.count(ROUTE) == 1
    assert proxy.client.versions[ROUTE] == before
    assert (receipt.sent, receipt.acknowledged, receipt.rejected) == (2, 1, 1)
    (rejection,) = receipt.rejections
    assert (rejection.proxy, rejection.text) == ("client.shop", text)
    assert list(rejection.resources) == ["9080"]
    assert "Service/shop/ratings" in rejection.sources


def _refuse(type_url: str, text: str, seen: list[str]) -> Verdict:
    def verdict(response: discovery_pb2.DeltaDiscoveryResponse) -> str | None:
        seen.append(response.type_url)
        return text if response.type_url == type_url else None

    return verdict


async def test_who_reconnects_with_versions_gets_only_what_differs(running: RunningPlane) -> None:
    running.change(WORLD)
    async with running.proxy() as proxy:
        await _synced(proxy)
        client = proxy.client
    ratings = service("ratings", port(9080))
    running.change(mesh(ratings, endpoints(ratings, "10.0.0.8"), before=WORLD))
    async with running.stream(client, identity()) as again:
        await again.send(*client.connect())
        response = discovery_pb2.DeltaDiscoveryResponse.FromString(await again.receive())

    assert response.type_url == CLUSTER
    assert [item.name for item in response.resources] == [f"outbound|9080||{fqdn('ratings')}"]


async def test_a_reconnect_with_sixty_thousand_versions_is_one_stream_and_not_a_loop(
    tmp_path: Path,
) -> None:
    defaults = {field.name: field.default for field in structs.fields(Settings)}
    limits = ServerLimits(message_bytes=defaults["max_request_bytes"])
    async with running_plane(tmp_path, server_limits=limits) as running:
        running.change(WORLD)
        client = DeltaClient(node())
        client.subscribe(CLUSTER)
        client.versions[CLUSTER] = {
            f"outbound|80||service-{number}.some-namespace.svc.cluster.local": "0" * 16
            for number in range(60_000)
        }
        async with running.stream(client, identity()) as proxy:
            (first,) = client.connect()
            assert first.ByteSize() > 4 * 1024 * 1024
            await proxy.send(first, client.subscribe(LISTENER))
            await proxy.until(lambda it: len(it.versions[CLUSTER]) < 10)

    assert REVIEWS_CLUSTER in client.versions[CLUSTER]


async def test_state_of_the_world_is_served_as_well(running: RunningPlane) -> None:
    running.change(WORLD)
    async with grpc.aio.insecure_channel(running.address) as channel:
        call = channel.stream_stream(f"/{SERVICE}/StreamAggregatedResources")(
            metadata=[("test-identity", str(identity()))]
        )
        request = discovery_pb2.DiscoveryRequest(node=node(), type_url=CLUSTER)
        await call.write(request.SerializeToString())
        response = discovery_pb2.DiscoveryResponse.FromString(await call.read())
        call.cancel()

    assert response.type_url == CLUSTER
    assert any(REVIEWS_CLUSTER.encode() in item.value for item in response.resources)


async def test_a_policy_reaches_only_the_workload_that_it_selects(running: RunningPlane) -> None:
    labelled = workload("client", labels={"app": "client"}, addresses=("10.244.0.9",))
    world = mesh(labelled, before=WORLD)
    running.change(world)
    async with running.proxy() as proxy, running.proxy("second") as second:
        await _synced(proxy)
        await _synced(second)
        denied = access_policy("none", selector={"app": "client"})
        delta = running.change(mesh(denied, before=world), "AuthorizationPolicy/shop/none")
        response = discovery_pb2.DeltaDiscoveryResponse.FromString(await proxy.receive())
        receipt = await running.receipt(delta.change)

    assert response.type_url == LISTENER
    assert (receipt.connected, receipt.sent) == (2, 1)
    assert [one.types for one in receipt.classes] == [[LISTENER]]
