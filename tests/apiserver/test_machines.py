"""Machines outside the cluster, from the first connection to the last, at a real API server.

The control plane runs here; what connects speaks xDS as an agent does, with tokens of TokenRequest.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.rpc import status_pb2

from libs.kube.client import Client
from libs.kube.errors import NotFoundError
from libs.pki import bundle, csr, verify
from libs.xds.types import CLUSTER
from services.config_push.machines import HEALTH
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_apps import KubeApps, kube_apps
from tests.support.kube_discovery import define
from tests.support.pki_ca import ask, bearer
from tests.support.push_plane import ConnectedProxy
from tests.support.xds_client import DeltaClient

ENTRIES = "/apis/networking.istio.io/v1/namespaces/shop/workloadentries"
GROUPS = "/apis/networking.istio.io/v1/namespaces/{}/workloadgroups"
ADDRESS = "10.9.0.1"
NAME = f"vm-{ADDRESS}"
GROUP = "istio.io/autoRegistrationGroup"
CONTROLLER = "istio.io/workloadController"
CONNECTED_AT, DISCONNECTED_AT = "istio.io/connectedAt", "istio.io/disconnectedAt"
GRACE = 1.0


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="client")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        await define(client)
        for namespace in ("shop", "other"):
            for account in ("vm", "thief", "default"):
                await kube.account(client, namespace, account)
        for one in await entries(client):
            await client.request("DELETE", f"{ENTRIES}/{one['metadata']['name']}")
        await kube.ensure(client, GROUPS.format("shop"), group())
        yield client


@pytest.fixture(name="apps")
async def control_plane(
    server: ApiServer, client: Client, tmp_path: Path
) -> AsyncIterator[KubeApps]:
    own = {"machines_grace_seconds": GRACE}
    async with kube_apps(tmp_path, server, client, of_discovery=own) as apps:
        yield apps


def group(name: str = "vm", **spec: object) -> dict[str, Any]:
    template = {
        "serviceAccount": "vm",
        "labels": {"app": "db", "tier": "old"},
        "ports": {"tcp": 5432},
        "network": "net",
        "locality": "eu/a",
        "weight": 3,
    }
    metadata = {"labels": {"tier": "back"}, "annotations": {"note": "mine"}}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadGroup",
        "metadata": {"name": name},
        "spec": {"template": template, "metadata": metadata, **spec},
    }


def node(namespace: str = "shop", **said: str) -> base_pb2.Node:
    made = base_pb2.Node(id=f"sidecar~{ADDRESS}~host.{namespace}~{namespace}.svc.cluster.local")
    for key, value in {"AUTO_REGISTER_GROUP": "vm", "LABELS": "", **said}.items():
        if value:
            made.metadata.fields[key].string_value = value
    return made


def probing(made: base_pb2.Node) -> base_pb2.Node:
    made.metadata.fields["PROXY_CONFIG"].struct_value.update(
        {"readinessProbe": {"periodSeconds": 1}}
    )
    return made


class Machine:
    """A machine whose proxy has connected."""

    def __init__(self, proxy: ConnectedProxy) -> None:
        self.proxy = proxy

    async def says(self, wrong: str | None) -> None:
        """Tell of its workload, among Envoy's own requests."""
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=HEALTH)
        if wrong is not None:
            request.error_detail.CopyFrom(status_pb2.Status(code=13, message=wrong))
        await self.proxy.send(request)

    async def refusal(self) -> tuple[grpc.StatusCode, str]:
        """Return why its stream ended."""
        with suppress(grpc.aio.AioRpcError):
            async with asyncio.timeout(20):
                while await self.proxy.call.read():
                    pass
        return await self.proxy.call.code(), str(await self.proxy.call.details())


async def token_of(client: Client, namespace: str = "shop", account: str = "vm") -> str:
    return await kube.token(client, namespace, account)


@asynccontextmanager
async def machine(
    apps: KubeApps, token: str, claimed: base_pb2.Node | None = None, *, first: str = CLUSTER
) -> AsyncIterator[Machine]:
    client = DeltaClient(claimed or node())
    async with apps.agent() as over:
        proxy = ConnectedProxy(client, over, metadata=[("authorization", f"Bearer {token}")])
        await proxy.send(client.subscribe(first))
        try:
            yield Machine(proxy)
        finally:
            proxy.call.cancel()


async def entries(client: Client) -> list[Any]:
    return list((await client.get(ENTRIES))["items"])


async def entry(client: Client, name: str = NAME) -> Any:  # noqa: ANN401  # JSON
    try:
        return await client.get(f"{ENTRIES}/{name}")
    except NotFoundError:
        return None


async def until(holds: Callable[[], Awaitable[object]], seconds: float = 30) -> Any:  # noqa: ANN401
    async with asyncio.timeout(seconds):
        while not (found := await holds()):  # noqa: ASYNC110  # an API server is asked
            await asyncio.sleep(0.05)
        return found


def annotations(found: Any) -> dict[str, str]:  # noqa: ANN401  # JSON
    return dict(found["metadata"].get("annotations") or {})


async def annotated(client: Client, key: str) -> Any:  # noqa: ANN401  # JSON
    found = await entry(client)
    return found if found and key in annotations(found) else None


# proves: WorkloadGroup spec.template.ports, spec.template.labels, spec.template.network
# proves: WorkloadGroup spec.template.locality, spec.template.weight
# proves: WorkloadGroup spec.template.serviceAccount
# proves: WorkloadGroup spec.metadata.labels, spec.metadata.annotations
async def test_a_machine_is_an_entry_while_it_is_connected(apps: KubeApps) -> None:
    client = apps.client
    async with machine(apps, await token_of(client)):
        found = await until(lambda: entry(client))
        assert found["spec"] == {
            "address": ADDRESS,
            "labels": {"app": "db", "tier": "back"},
            "locality": "eu/a",
            "network": "net",
            "ports": {"tcp": 5432},
            "serviceAccount": "vm",
            "weight": 3,
        }
        assert found["metadata"]["labels"] == {"app": "db", "tier": "back"}
        said = annotations(found)
        assert (said[GROUP], said["note"]) == ("vm", "mine")
        assert said[CONTROLLER].startswith("seine-config-push@127.0.0.1:")
        assert said[CONNECTED_AT].endswith("Z")
        (owner,) = found["metadata"]["ownerReferences"]
        owners = await client.get(f"{GROUPS.format('shop')}/vm")
        assert (owner["kind"], owner["name"]) == ("WorkloadGroup", "vm")
        assert owner["uid"] == owners["metadata"]["uid"]
    left = await until(lambda: annotated(client, DISCONNECTED_AT))
    assert CONNECTED_AT not in annotations(left)
    await until(lambda: _gone(client))


async def _gone(client: Client) -> bool:
    return await entry(client) is None


async def test_what_a_machine_says_of_its_place_counts_and_of_its_labels_not(
    apps: KubeApps,
) -> None:
    claimed = node(NETWORK="far")
    claimed.metadata.fields["LABELS"].struct_value.update({"app": "payments"})
    claimed.locality.region, claimed.locality.zone = "us", "b"
    async with machine(apps, await token_of(apps.client), claimed):
        found = await until(lambda: entry(apps.client, f"{NAME}-far"))
    assert found["spec"]["network"] == "far"
    assert found["spec"]["locality"] == "us/b"
    assert found["spec"]["labels"]["app"] == "db"


async def test_a_machine_that_comes_back_in_time_stays(apps: KubeApps) -> None:
    client, token = apps.client, await token_of(apps.client)
    async with machine(apps, token):
        before = await until(lambda: entry(client))
    async with machine(apps, token):
        # Whatever was written meanwhile, after the grace it is connected, and the same object.
        await asyncio.sleep(GRACE)
        found = await until(lambda: annotated(client, CONNECTED_AT))
        assert found["metadata"]["uid"] == before["metadata"]["uid"]


FOREIGN: dict[str, tuple[str, str, base_pb2.Node]] = {
    "another namespace's token": ("other", "vm", node("other")),
    "another namespace's token, its name": ("other", "vm", node("shop")),
    "another account's token": ("shop", "thief", node()),
    "a group that is not there": ("shop", "vm", node(AUTO_REGISTER_GROUP="forged")),
    "a group by its path": ("other", "vm", node("other", AUTO_REGISTER_GROUP="../shop/vm")),
    "a group by its key": ("other", "vm", node("other", AUTO_REGISTER_GROUP="shop/vm")),
    "a name that is none": ("shop", "vm", node(NETWORK="A_B")),
}


@pytest.mark.parametrize("claim", FOREIGN)
async def test_nobody_registers_by_what_is_anothers(apps: KubeApps, claim: str) -> None:
    namespace, account, claimed = FOREIGN[claim]
    client = apps.client
    # So that tokens of these accounts are believed: the group is theirs, and not the one asked for.
    for space in ("shop", "other"):
        for name in ("vm", "thief"):
            theirs = group(f"of-{name}", template={"serviceAccount": name})
            await kube.ensure(client, GROUPS.format(space), theirs)
    token = await token_of(client, namespace, account)
    await until(lambda: _is_believed(apps, token, namespace, account))
    async with machine(apps, token, claimed) as foreign:
        code, _ = await foreign.refusal()
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert await entries(client) == []


async def _is_believed(apps: KubeApps, token: str, namespace: str, account: str) -> bool:
    claimed = node(namespace, AUTO_REGISTER_GROUP=f"of-{account}")
    async with machine(apps, token, claimed) as honest, asyncio.timeout(10):
        if await honest.proxy.call.read() is grpc.aio.EOF:
            return False
        name = f"of-{account}-{ADDRESS}"
        path = ENTRIES.replace("/shop/", f"/{namespace}/")
        await until(lambda: _is_there(apps.client, f"{path}/{name}"))
    await until(lambda: _is_not(apps.client, f"{path}/{name}"))
    return True


async def _is_there(client: Client, path: str) -> bool:
    with suppress(NotFoundError):
        await client.get(path)
        return True
    return False


async def _is_not(client: Client, path: str) -> bool:
    return not await _is_there(client, path)


async def test_a_token_without_a_pod_proves_nothing_without_a_group(apps: KubeApps) -> None:
    token = await token_of(apps.client, "shop", "default")
    async with apps.agent() as over:
        refused = await ask(over, csr.make_with_key()[1], bearer(token))
        assert refused.code == "UNAUTHENTICATED"
        vm = await ask(over, csr.make_with_key()[1], bearer(await token_of(apps.client)))
    assert vm.code == "OK", vm
    leaf = bundle.parse(vm.chain[0].encode())[0]
    assert str(verify.identity_of(leaf)) == "spiffe://cluster.local/ns/shop/sa/vm"
    async with machine(apps, token, node(AUTO_REGISTER_GROUP="")) as nobody:
        assert (await nobody.refusal())[0] is grpc.StatusCode.UNAUTHENTICATED


async def test_an_entry_that_somebody_wrote_is_left_alone(apps: KubeApps) -> None:
    written = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadEntry",
        "metadata": {"name": NAME},
        "spec": {"address": "10.1.1.1", "serviceAccount": "vm"},
    }
    await kube.ensure(apps.client, ENTRIES, written)
    async with machine(apps, await token_of(apps.client)) as mine:
        assert await mine.proxy.call.read()
        other = node(NETWORK="far")
        async with machine(apps, await token_of(apps.client), other):
            await until(lambda: entry(apps.client, f"{NAME}-far"))
    await until(lambda: _is_not(apps.client, f"{ENTRIES}/{NAME}-far"))
    found = await entry(apps.client)
    assert found["spec"]["address"] == "10.1.1.1"
    assert GROUP not in annotations(found)


async def test_health_is_a_condition(apps: KubeApps) -> None:
    client = apps.client
    async with machine(apps, await token_of(client), probing(node())) as checked:
        found = await until(lambda: entry(client))
        assert annotations(found)["proxy.istio.io/health-checks-enabled"] == "true"
        await checked.says("status 500")
        told = await until(lambda: _condition(client, "False"))
        assert told["message"] == "status 500"
        assert told["lastProbeTime"] == told["lastTransitionTime"]
        await checked.says(None)
        assert not (await until(lambda: _condition(client, "True"))).get("message")


async def _condition(client: Client, status: str) -> Any:  # noqa: ANN401  # JSON
    found = await entry(client)
    conditions = ((found or {}).get("status") or {}).get("conditions") or ()
    healthy = [it for it in conditions if it["type"] == "Healthy" and it["status"] == status]
    return healthy[0] if healthy else None


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
    await until(lambda: _none(client), seconds=60)


async def _none(client: Client) -> bool:
    return not await entries(client)


async def test_a_second_control_plane_takes_over(
    server: ApiServer, client: Client, tmp_path: Path
) -> None:
    """The machine moves while everything restarts: its entry stays, and says who has it now."""
    token = await token_of(client)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    own = {"machines_grace_seconds": 15.0}
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(
            kube_apps(tmp_path / "one", server, client, of_discovery=own)
        )
        await stack.enter_async_context(machine(first, token))
        before = await until(lambda: entry(client))
    async with (
        kube_apps(tmp_path / "two", server, client, of_discovery=own) as second,
        machine(second, token),
    ):
        found = await until(lambda: _moved(client, annotations(before)[CONTROLLER]))
        assert found["metadata"]["uid"] == before["metadata"]["uid"]
        assert DISCONNECTED_AT not in annotations(found)


async def _moved(client: Client, from_whom: str) -> Any:  # noqa: ANN401  # JSON
    found = await annotated(client, CONNECTED_AT)
    return found if found and annotations(found)[CONTROLLER] != from_whom else None
