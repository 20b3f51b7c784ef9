"""The root in a cluster: made once, published everywhere, repaired, rotated, and fenced."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from envoy.config.core.v3 import base_pb2
from prometheus_client import REGISTRY

from libs.kube.client import Client
from libs.kube.errors import NotFoundError
from libs.pki import authority, bundle, verify
from libs.runtime.clock import SystemClock
from libs.xds.types import CLUSTER
from services.ca import reports
from services.ca.root_maps import KEY, NAME
from services.ca.secrets import OWN
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_apps import KubeApps, kube_apps
from tests.support.kube_ca import (
    SECRETS,
    SYSTEM,
    ClusterCa,
    cluster_ca,
    fresh,
    generation_is,
    has_roots,
    own_roots,
    rotate,
    secret,
    until,
)
from tests.support.kubeconfig import write_kubeconfig
from tests.support.pki_ca import bearer
from tests.support.push_plane import ConnectedProxy
from tests.support.xds_client import DeltaClient

CLOCK = SystemClock()
MERGE = "application/merge-patch+json"
MAPS = "/api/v1/namespaces/{}/configmaps"


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="client")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        await fresh(client)
        yield client


@pytest.fixture(name="config")
def kubeconfig_of_it(server: ApiServer, tmp_path: Path) -> str:
    return str(write_kubeconfig(server, tmp_path / "config"))


async def test_three_replicas_that_start_together_make_one_root(
    client: Client, config: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        async with asyncio.TaskGroup() as group:
            starting = []
            for number in range(3):
                folder = tmp_path / str(number)
                folder.mkdir()
                replica = cluster_ca(folder, client, config)
                starting.append(group.create_task(stack.enter_async_context(replica)))
        replicas = [task.result() for task in starting]
        roots = set()
        for replica in replicas:
            material = await replica.enrol("shop", "bob", "bob-1")
            roots.add(material.roots)
    assert len(roots) == 1
    assert roots == {await own_roots(client)}


async def test_every_namespace_has_the_roots_whatever_happens_to_them(
    client: Client, config: str, tmp_path: Path
) -> None:
    await kube.namespace(client, "before")
    async with cluster_ca(tmp_path, client, config) as ca:
        first = await until(lambda: has_roots(client, "before", ca.roots))
        await kube.namespace(client, "later")
        new = await until(lambda: has_roots(client, "later", ca.roots))
        path = f"{MAPS.format('later')}/{NAME}"
        for change in ({KEY: "mine"}, {KEY: None}):
            body = {"data": change}
            await client.request("PATCH", path, body=body, content_type=MERGE)
            edited = await until(lambda: has_roots(client, "later", ca.roots))
        other = {"data": {"theirs": "kept", KEY: "mine"}}
        await client.request("PATCH", path, body=other, content_type=MERGE)
        await until(lambda: has_roots(client, "later", ca.roots))
        assert (await client.get(path))["data"]["theirs"] == "kept"
        await client.request("DELETE", path)
        deleted = await until(lambda: has_roots(client, "later", ca.roots))
        fixed = {"data": {KEY: "mine"}, "immutable": True}
        await client.request("PATCH", path, body=fixed, content_type=MERGE)
        immutable = await until(lambda: has_roots(client, "later", ca.roots))
        await client.request("DELETE", "/api/v1/namespaces/later")
    sys.stdout.write(
        f"root maps: at the start {first:.2f} s, new namespace {new:.3f}, edited {edited:.3f}, "
        f"deleted {deleted:.3f}, immutable {immutable:.3f} s\n"
    )


async def test_a_leader_that_leads_again_looks_at_everything_again(
    client: Client, config: str, tmp_path: Path
) -> None:
    async with cluster_ca(tmp_path, client, config) as ca:
        await kube.namespace(client, "shop")
        await until(lambda: has_roots(client, "shop", ca.roots))
        # Somebody else takes the lease, leads badly, and goes.
        lease = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/seine-ca"
        held = {"holderIdentity": "other", "leaseDurationSeconds": 1}
        await client.request("PATCH", lease, body={"spec": held}, content_type=MERGE)
        await until(lambda: _leads(False))
        await client.request("DELETE", f"{MAPS.format('shop')}/{NAME}")
        await until(lambda: has_roots(client, "shop", ca.roots))


async def _leads(expected: bool) -> bool:
    return bool(REGISTRY.get_sample_value("seine_ca_leader")) is expected


async def test_a_secret_that_disappears_or_goes_back_is_restored(
    client: Client, config: str, tmp_path: Path
) -> None:
    async with cluster_ca(tmp_path, client, config, confirm_seconds=3) as ca:
        await until(lambda: has_roots(client, SYSTEM, ca.roots))
        old = await secret(client)
        await rotate(client, "once")
        await until(lambda: generation_is(client, 2))
        two = await own_roots(client)
        await client.request("DELETE", f"{SECRETS}/{OWN}")
        deleted = await until(lambda: _holds(client, two))
        for name in ("resourceVersion", "uid"):
            old["metadata"].pop(name)
        await client.request("PUT", f"{SECRETS}/{OWN}", body=old)
        back = await until(lambda: _holds(client, two))
        assert await generation_is(client, 2)
        assert (await ca.enrol("shop", "bob", "bob-1")).roots == two
    sys.stdout.write(
        f"root secret: restored {deleted:.1f} s after it was deleted, {back:.1f} s after it went "
        "back (confirm_seconds 3)\n"
    )


async def _holds(client: Client, roots: bytes) -> bool:
    try:
        return await own_roots(client) == roots
    except NotFoundError:
        return False


async def test_a_root_is_rotated_without_cutting_anybody_off(
    client: Client, config: str, tmp_path: Path
) -> None:
    """Certificates of 2 s: the proof is that all of before have expired."""
    short = {"certificate_seconds": 2, "confirm_seconds": 1}
    async with cluster_ca(tmp_path, client, config, **short) as ca:
        old = await ca.enrol("shop", "bob", "bob-1")
        await rotate(client, "now")
        await until(lambda: generation_is(client, 2))
        both = await own_roots(client)
        first, second = bundle.parse(both)
        await until(lambda: has_roots(client, "shop", both))
        ca.roots = both  # as its ConfigMap is mounted
        waiting = await ca.enrol("shop", "bob", "bob-1")
        assert waiting.roots == both
        seconds = await until(lambda: generation_is(client, 3))
        assert await own_roots(client) == both
        new = await ca.enrol("shop", "bob", "bob-1")
    sys.stdout.write(f"rotation: activated {seconds:.1f} s after it was published (proof by age)\n")
    assert seconds > 2
    for material, issuer in ((old, first), (waiting, first), (new, second)):
        leaf = bundle.parse(material.chain)[0]
        leaf.verify_directly_issued_by(issuer)
        verify.chain([leaf], [first, second], now=material.not_before + 1)


async def test_a_root_signs_as_soon_as_every_proxy_says_it_has_it(
    client: Client, server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Certificates of a day: by age it would take as long. One proxy is slow to say it."""

    async def here(_: reports.Reports) -> list[str]:
        return ["127.0.0.1"]  # an API server takes no loopback address for a replica's

    monkeypatch.setattr(reports.Reports, "_replicas", here)
    async with AsyncExitStack() as stack:
        apps = await stack.enter_async_context(
            kube_apps(tmp_path, server, client, confirm_seconds=1)
        )
        await rotate(client, "now")
        await until(lambda: generation_is(client, 2))
        both = await own_roots(client)
        old, new = (authority.identifier(root) for root in bundle.parse(both))
        quick = await stack.enter_async_context(proxy(apps, "quick", f"{old},{new}"))
        slow = AsyncExitStack()
        await slow.enter_async_context(proxy(apps, "slow", old))
        await CLOCK.sleep(6)  # three times what it takes to be asked
        assert await generation_is(client, 2)
        await slow.aclose()
        said = CLOCK.monotonic()
        await stack.enter_async_context(proxy(apps, "slow", f"{old},{new}"))
        await until(lambda: generation_is(client, 3))
        seconds = CLOCK.monotonic() - said
        quick.call.cancel()
    assert seconds >= 1.5
    sys.stdout.write(
        f"rotation: activated {seconds:.1f} s after the last proxy said so (2 s are waited)\n"
    )


@asynccontextmanager
async def proxy(apps: KubeApps, name: str, roots: str) -> AsyncIterator[ConnectedProxy]:
    """Connect a proxy whose agent says that it trusts `roots`."""
    token = await kube.pod_token(apps.client, "shop", name, by="bob")
    node = base_pb2.Node(id=f"sidecar~10.9.0.1~{name}.shop~shop.svc.cluster.local")
    metadata = [("authorization", f"Bearer {token}"), ("seine-trusted-roots", roots)]
    client = DeltaClient(node)
    async with apps.agent() as over:
        connected = ConnectedProxy(client, over, metadata=metadata)
        await connected.send(client.subscribe(CLUSTER))
        await connected.until(lambda now: CLUSTER in now.versions)
        yield connected
        connected.call.cancel()


async def test_a_replica_that_hears_nothing_signs_nothing(
    client: Client, config: str, tmp_path: Path
) -> None:
    """T19: it says "later" until it has read again, and then signs as the others do."""
    clock = Paused()
    async with cluster_ca(tmp_path, client, config, clock=clock, confirm_seconds=1) as ca:
        token = bearer(await kube.pod_token(client, "shop", "bob-1", by="bob"))
        over = await ca.connect()
        assert (await ca.ask(token, over=over)).code == "OK"
        clock.paused = True
        await until(lambda: _says(ca, token, "UNAVAILABLE"))
        clock.paused = False
        seconds = await until(lambda: _says(ca, token, "OK"))
    sys.stdout.write(f"fence: signs again {seconds:.1f} s after it can read again\n")


class Paused(SystemClock):
    """Wall and monotonic time go on, and nobody who sleeps wakes up: as after SIGSTOP."""

    paused = False

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        while self.paused:
            await super().sleep(0.01)


async def _says(ca: ClusterCa, token: Any, code: str) -> bool:  # noqa: ANN401
    return (await ca.ask(token)).code == code


async def test_a_hundred_namespaces(client: Client, config: str, tmp_path: Path) -> None:
    names = [f"team-{number}" for number in range(100)]
    async with cluster_ca(tmp_path, client, config) as ca:
        await until(lambda: has_roots(client, SYSTEM, ca.roots))
        for name in names:
            await kube.namespace(client, name)
        seconds = await until(lambda: has_roots(client, names[-1], ca.roots))
        missing = [name for name in names if not await has_roots(client, name, ca.roots)]
    sys.stdout.write(f"root maps: 100 new namespaces, the last {seconds:.3f} s after it was made\n")
    assert missing == []
