"""What a proxy may not do: its stream ends with a code that says why, and no other notices."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2
from msgspec import structs

from libs.model.ids import SpiffeId
from libs.rpc.limits import Limits as ServerLimits
from libs.xds.stream.limits import Limits
from libs.xds.types import CLUSTER, ENDPOINT, LISTENER
from tests.support.mesh import endpoints, fqdn, mesh, port, service, workload
from tests.support.push_plane import (
    LIMITS,
    ConnectedProxy,
    EndedError,
    RunningPlane,
    identity,
    node,
    running_plane,
)
from tests.support.xds_client import DeltaClient

REVIEWS = service("reviews", port(9080))
SECRET_LEDGER = service("ledger", port(80), namespace="bank", export_to=(".",))
WORLD = mesh(
    REVIEWS,
    endpoints(REVIEWS, "10.0.0.1"),
    SECRET_LEDGER,
    endpoints(SECRET_LEDGER, "10.0.0.2"),
    workload("teller", "bank", addresses=("10.0.0.2",)),
)
SMALL = structs.replace(
    LIMITS,
    session=Limits(names=1000, types=8, metadata_bytes=64 * 1024),
)
Code = grpc.StatusCode


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[RunningPlane]:
    limits = ServerLimits(message_bytes=1024 * 1024)
    async with running_plane(tmp_path, limits=SMALL, server_limits=limits) as plane:
        plane.change(WORLD)
        yield plane


async def _outcome(
    running: RunningPlane, proved: SpiffeId | None, *requests: discovery_pb2.DeltaDiscoveryRequest
) -> Code:
    async with running.stream(DeltaClient(), proved) as stream:
        await stream.send(*requests)
        return await stream.ended()


def _first(made: base_pb2.Node, type_url: str = CLUSTER) -> discovery_pb2.DeltaDiscoveryRequest:
    return discovery_pb2.DeltaDiscoveryRequest(node=made, type_url=type_url)


async def _still_served(proxy: ConnectedProxy, running: RunningPlane, address: str) -> None:
    """An honest stream gets a change, whatever others do."""
    running.change(mesh(endpoints(REVIEWS, address), before=running.mesh))
    response = discovery_pb2.DeltaDiscoveryResponse.FromString(await proxy.receive())
    assert response.type_url == ENDPOINT


async def _honest(proxy: ConnectedProxy) -> None:
    await proxy.send(proxy.client.subscribe(CLUSTER))
    name = f"outbound|9080||{fqdn('reviews')}"
    await proxy.until(lambda client: name in client.versions.get(ENDPOINT, {}))


async def test_before_there_is_a_mesh_nobody_is_served(tmp_path: Path) -> None:
    async with running_plane(tmp_path) as unsynced:
        assert await _outcome(unsynced, identity(), _first(node())) is Code.UNAVAILABLE


async def test_without_a_credential_nobody_is_served(running: RunningPlane) -> None:
    assert await _outcome(running, None, _first(node())) is Code.UNAUTHENTICATED


@pytest.mark.parametrize(
    "claimed",
    [
        pytest.param(node("teller", "bank"), id="node id of another namespace"),
        pytest.param(node("client", NAMESPACE="bank"), id="namespace in metadata"),
        pytest.param(node("client", SERVICE_ACCOUNT="root"), id="service account in metadata"),
        pytest.param(
            base_pb2.Node(id="sidecar~10.0.0.2~teller.bank~bank.svc.cluster.local"),
            id="another's node id and no metadata",
        ),
        pytest.param(
            base_pb2.Node(id="sidecar~10.0.0.2~client.shop.~shop.svc.cluster.local"),
            id="trailing dot",
        ),
        pytest.param(
            base_pb2.Node(id="sidecar~10.0.0.2~client.SHOP~shop.svc.cluster.local"), id="case"
        ),
        pytest.param(
            base_pb2.Node(id="sidecar~10.0.0.2~client.%2e~shop.svc.cluster.local"), id="escape"
        ),
        pytest.param(base_pb2.Node(id="ztunnel~10.0.0.2~client.shop~x"), id="unknown kind"),
        pytest.param(base_pb2.Node(id="sidecar~not-an-address~client.shop~x"), id="no address"),
    ],
)
async def test_a_claim_that_is_not_proved_ends_the_stream(
    running: RunningPlane, claimed: base_pb2.Node
) -> None:
    assert await _outcome(running, identity(), _first(claimed)) is Code.PERMISSION_DENIED


async def test_an_account_other_than_the_pods_ends_the_stream(running: RunningPlane) -> None:
    running.change(mesh(workload("client", service_account="web"), before=WORLD))
    proved = identity(account="intruder")

    assert await _outcome(running, proved, _first(node())) is Code.PERMISSION_DENIED
    client = DeltaClient(node(), follow_clusters=True)
    async with running.stream(client, identity(account="web")) as control:
        await _honest(control)


async def test_a_pod_that_turns_out_to_have_another_account_loses_its_stream(
    running: RunningPlane,
) -> None:
    async with running.proxy() as proxy:
        await _honest(proxy)
        running.change(mesh(workload("client", service_account="web"), before=WORLD))

        assert await proxy.ended() is Code.PERMISSION_DENIED


async def test_the_node_cannot_change_on_a_stream(running: RunningPlane) -> None:
    requests = (_first(node()), _first(node("other"), LISTENER))
    assert await _outcome(running, identity(), *requests) is Code.PERMISSION_DENIED


async def test_a_second_stream_of_the_same_node_leaves_the_first_alone(
    running: RunningPlane,
) -> None:
    async with running.proxy() as proxy:
        await _honest(proxy)
        intruder = identity("bank")
        assert await _outcome(running, intruder, _first(node())) is Code.PERMISSION_DENIED
        async with running.proxy() as twin:
            await _honest(twin)
            await _still_served(proxy, running, "10.0.0.3")


async def test_a_proxy_sees_nothing_that_is_kept_in_another_namespace(
    running: RunningPlane,
) -> None:
    async with running.proxy() as proxy, running.proxy("teller", "bank") as teller:
        await _honest(proxy)
        await _honest(teller)

    own = f"outbound|80||{fqdn('ledger', 'bank')}"
    assert own in teller.client.versions[CLUSTER]  # the control: it is there to be seen
    assert own not in proxy.client.versions[CLUSTER]


async def test_asking_by_name_for_what_is_not_ones_own_gives_nothing(
    running: RunningPlane,
) -> None:
    hidden = f"outbound|80||{fqdn('ledger', 'bank')}"
    absent = "outbound|80||no.such.service"
    async with running.proxy() as proxy:
        await _honest(proxy)
        await proxy.send(proxy.client.subscribe(ENDPOINT, [hidden, absent]))
        response = discovery_pb2.DeltaDiscoveryResponse.FromString(await proxy.receive())

    assert not response.resources
    assert set(response.removed_resources) == {hidden, absent}


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        pytest.param(
            discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER),
            Code.INVALID_ARGUMENT,
            id="no node",
        ),
        pytest.param(_first(node(), ""), Code.INVALID_ARGUMENT, id="no type"),
        pytest.param(_first(node(), "x" * 300), Code.INVALID_ARGUMENT, id="long type"),
        pytest.param(
            discovery_pb2.DeltaDiscoveryRequest(
                node=node(),
                type_url=ENDPOINT,
                resource_names_subscribe=[f"n{number}" for number in range(1001)],
            ),
            Code.RESOURCE_EXHAUSTED,
            id="too many names",
        ),
        pytest.param(
            discovery_pb2.DeltaDiscoveryRequest(
                node=node(),
                type_url=CLUSTER,
                initial_resource_versions={f"n{number}": "1" for number in range(1001)},
            ),
            Code.RESOURCE_EXHAUSTED,
            id="too many versions",
        ),
        pytest.param(
            discovery_pb2.DeltaDiscoveryRequest(
                node=node(), type_url=ENDPOINT, resource_names_subscribe=["n" * 5000]
            ),
            Code.INVALID_ARGUMENT,
            id="long name",
        ),
        pytest.param(
            _first(node(ANNOTATIONS="x" * 100_000)), Code.RESOURCE_EXHAUSTED, id="large metadata"
        ),
        pytest.param(
            _first(node(ANNOTATIONS="x" * 2_000_000)), Code.RESOURCE_EXHAUSTED, id="large message"
        ),
    ],
)
async def test_too_much_or_too_little_ends_the_stream_and_no_other(
    running: RunningPlane, request_: discovery_pb2.DeltaDiscoveryRequest, code: Code
) -> None:
    async with running.proxy() as proxy:
        await _honest(proxy)
        assert await _outcome(running, identity(), request_) is code
        await _still_served(proxy, running, "10.0.0.4")


async def test_too_many_types_end_the_stream(running: RunningPlane) -> None:
    requests = [_first(node(), f"type.googleapis.com/t{number}") for number in range(9)]
    assert await _outcome(running, identity(), *requests) is Code.RESOURCE_EXHAUSTED


async def test_names_add_up_over_requests(running: RunningPlane) -> None:
    requests = [
        discovery_pb2.DeltaDiscoveryRequest(
            node=node(),
            type_url=ENDPOINT,
            resource_names_subscribe=[f"{start}-{number}" for number in range(600)],
        )
        for start in range(2)
    ]
    assert await _outcome(running, identity(), *requests) is Code.RESOURCE_EXHAUSTED


async def test_bytes_that_are_no_request_end_the_stream(running: RunningPlane) -> None:
    async with running.stream(DeltaClient(), identity()) as stream:
        await stream.call.write(b"\xff\xff\xff\xff")
        assert await stream.ended() is Code.INVALID_ARGUMENT


async def test_a_silent_stream_is_ended(tmp_path: Path) -> None:
    limits = structs.replace(LIMITS, first_request=0.2)
    async with running_plane(tmp_path, limits=limits) as running:
        running.change(WORLD)
        async with running.stream(DeltaClient(), identity()) as stream:
            with pytest.raises(EndedError):
                await stream.read()
            assert await stream.call.code() is Code.INVALID_ARGUMENT


async def test_more_streams_than_may_be_are_sent_away(tmp_path: Path) -> None:
    limits = structs.replace(LIMITS, streams=1)
    async with running_plane(tmp_path, limits=limits) as running:
        running.change(WORLD)
        async with running.proxy() as proxy:
            await _honest(proxy)
            code = await _outcome(running, identity(), _first(node("second")))
            assert code is Code.RESOURCE_EXHAUSTED
