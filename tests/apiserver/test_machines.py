"""Machines outside the cluster, from the first connection to the last, at a real API server.

The control plane runs here; what connects speaks xDS as an agent does, with tokens of TokenRequest.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import product
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from envoy.config.core.v3 import base_pb2

from libs.kube.client import Client
from libs.kube.errors import NotFoundError
from libs.pki import bundle, csr, verify
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_apps import KubeApps, kube_apps
from tests.support.kube_machines import (
    ACCOUNTS,
    ADDRESS,
    CONNECTED_AT,
    DISCONNECTED_AT,
    ENTRIES,
    GROUPS,
    NAME,
    SPACES,
    annotated,
    annotations,
    entries,
    entry,
    group,
    machine,
    nobody,
    node,
    prepare,
    probing,
    token_of,
    until,
)
from tests.support.pki_ca import ask, bearer

GROUP = "istio.io/autoRegistrationGroup"
CONTROLLER = "istio.io/workloadController"
GRACE = 0.5

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest_asyncio.fixture(name="plane", scope="module", loop_scope="module")
async def control_plane(
    server: ApiServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[KubeApps]:
    folder = tmp_path_factory.mktemp("plane")
    async with kube.client_of(server, folder) as client:
        await prepare(client)
        own = {"machines_grace_seconds": GRACE}
        async with kube_apps(folder, server, client, of_discovery=own) as apps:
            yield apps


@pytest_asyncio.fixture(name="apps", loop_scope="module")
async def with_no_machines(plane: KubeApps) -> AsyncIterator[KubeApps]:
    yield plane
    await until(lambda: nobody(plane.client), seconds=60)


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
    await until(lambda: nobody(client))


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


FOREIGN: dict[str, tuple[str, str, base_pb2.Node]] = {
    "another namespace's token": ("other", "vm", node("other")),
    "another namespace's token, its name": ("other", "vm", node("shop")),
    "another account's token": ("shop", "thief", node()),
    "a group that is not there": ("shop", "vm", node(AUTO_REGISTER_GROUP="forged")),
    "a group by its path": ("other", "vm", node("other", AUTO_REGISTER_GROUP="../shop/vm")),
    "a group by its key": ("other", "vm", node("other", AUTO_REGISTER_GROUP="shop/vm")),
    "a name that is none": ("shop", "vm", node(NETWORK="A_B")),
}


@pytest_asyncio.fixture(name="believed", scope="module", loop_scope="module")
async def accounts_that_are_believed(plane: KubeApps) -> None:
    """A group of its own for every account, so that its tokens are good, but for no other group."""
    for namespace, account in product(SPACES, ACCOUNTS):
        theirs = group(f"of-{account}", template={"serviceAccount": account})
        await kube.ensure(plane.client, GROUPS.format(namespace), theirs)
    for namespace, account in product(SPACES, ACCOUNTS):
        token = await token_of(plane.client, namespace, account)
        await until(lambda: _is_believed(plane, token, namespace, account))  # noqa: B023


@pytest.mark.usefixtures("believed")
@pytest.mark.parametrize("claim", FOREIGN)
async def test_nobody_registers_by_what_is_anothers(apps: KubeApps, claim: str) -> None:
    namespace, account, claimed = FOREIGN[claim]
    token = await token_of(apps.client, namespace, account)
    async with machine(apps, token, claimed) as foreign:
        code, _ = await foreign.refusal()
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert await entries(apps.client) == []


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
    await apps.client.request("DELETE", f"{ENTRIES}/{NAME}")


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
