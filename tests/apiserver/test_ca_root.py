"""The root in a cluster: made once, published everywhere, repaired, rotated, and fenced."""

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from envoy.config.core.v3 import base_pb2
from prometheus_client import REGISTRY

from libs.kube.client import Client
from libs.kube.errors import NotFoundError
from libs.pki import authority, bundle, verify
from libs.rpc import tls
from libs.runtime.clock import SystemClock
from libs.xds.types import CLUSTER
from services.ca import reports
from services.ca.root_maps import KEY, NAME
from services.ca.root_secret import IN_USE, OWN, PLUGGED_IN, ROTATE, USE_NOW
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_apps import KubeApps, kube_apps
from tests.support.kube_ca import (
    SECRETS,
    SYSTEM,
    ClusterCa,
    cluster_ca,
    own_roots,
    root_map,
    secret,
)
from tests.support.kubeconfig import write_kubeconfig
from tests.support.pki import cert_manager_files, intermediate
from tests.support.pki_ca import bearer
from tests.support.push_plane import ConnectedProxy
from tests.support.xds_client import DeltaClient

CLOCK = SystemClock()
MERGE = "application/merge-patch+json"
MAPS = "/api/v1/namespaces/{}/configmaps"


@pytest.fixture(name="server")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="client")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        yield client


@pytest.fixture(name="config")
def kubeconfig_of_it(server: ApiServer, tmp_path: Path) -> str:
    return str(write_kubeconfig(server, tmp_path / "config"))


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 30) -> float:
    """Return after how many seconds it holds."""
    started = CLOCK.monotonic()
    async with asyncio.timeout(seconds):
        while not await holds():
            await CLOCK.sleep(0.02)  # an API server is asked: nothing would tell
    return CLOCK.monotonic() - started


async def has_roots(client: Client, namespace: str, roots: bytes) -> bool:
    try:
        return await root_map(client, namespace) == roots.decode()
    except (NotFoundError, KeyError):
        return False


async def rotate(client: Client, word: str) -> None:
    body = {"metadata": {"annotations": {ROTATE: word}}}
    await client.request("PATCH", f"{SECRETS}/{OWN}", body=body, content_type=MERGE)


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
    assert new < 1.0


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


async def test_a_secret_that_disappears_or_goes_back_is_restored(
    client: Client, config: str, tmp_path: Path
) -> None:
    async with cluster_ca(tmp_path, client, config, confirm_seconds=3) as ca:
        await until(lambda: has_roots(client, SYSTEM, ca.roots))
        old = await secret(client)
        await rotate(client, "once")
        await until(lambda: _generation_is(client, 2))
        two = await own_roots(client)
        await client.request("DELETE", f"{SECRETS}/{OWN}")
        deleted = await until(lambda: _holds(client, two))
        for name in ("resourceVersion", "uid"):
            old["metadata"].pop(name)
        await client.request("PUT", f"{SECRETS}/{OWN}", body=old)
        back = await until(lambda: _holds(client, two))
        assert await _generation_is(client, 2)
        assert (await ca.enrol("shop", "bob", "bob-1")).roots == two
    sys.stdout.write(
        f"root secret: restored {deleted:.1f} s after it was deleted, {back:.1f} s after it went "
        "back (confirm_seconds 3)\n"
    )


async def _generation_is(client: Client, number: int) -> bool:
    record = base64.b64decode((await secret(client))["data"]["rotation.json"])
    return f'"generation":{number},'.encode() in record


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
        await until(lambda: _generation_is(client, 2))
        both = await own_roots(client)
        first, second = bundle.parse(both)
        await until(lambda: has_roots(client, "shop", both))
        ca.roots = both  # as its ConfigMap is mounted
        waiting = await ca.enrol("shop", "bob", "bob-1")
        assert waiting.roots == both
        seconds = await until(lambda: _generation_is(client, 3))
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
        await until(lambda: _generation_is(client, 2))
        both = await own_roots(client)
        old, new = (authority.identifier(root) for root in bundle.parse(both))
        quick = await stack.enter_async_context(proxy(apps, "quick", f"{old},{new}"))
        slow = AsyncExitStack()
        await slow.enter_async_context(proxy(apps, "slow", old))
        await CLOCK.sleep(6)  # three times what it takes to be asked
        assert await _generation_is(client, 2)
        await slow.aclose()
        await stack.enter_async_context(proxy(apps, "slow", f"{old},{new}"))
        seconds = await until(lambda: _generation_is(client, 3))
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


async def test_a_plugged_in_authority_signs_and_is_followed(
    client: Client, config: str, tmp_path: Path
) -> None:
    now = CLOCK.now()
    root = authority.generate("plugged", now=now)
    first = intermediate(root, period=(now - 60, now + 86_400 * 30))
    await kube.namespace(client, SYSTEM)
    await plug_in(client, authority.to_content(first), "POST")
    async with cluster_ca(tmp_path, client, config, roots=root.root_pem, confirm_seconds=3) as ca:
        material = await ca.enrol("shop", "bob", "bob-1")
        assert bundle.parse(material.chain)[1] == first.certificate
        assert material.roots == root.root_pem
        await until(lambda: has_roots(client, "shop", root.root_pem))
        second = intermediate(root, organization="second", period=(now - 60, now + 86_400 * 30))
        cert_manager_files(second, tmp_path / "cm")
        content = {path.name: path.read_bytes() for path in (tmp_path / "cm").iterdir()}
        await plug_in(client, content, "PUT")
        seconds = await until(lambda: _signed_by(ca, second))
        stranger = authority.generate("stranger", now=now)
        await plug_in(client, authority.to_content(stranger), "PUT")
        await CLOCK.sleep(2.5)
        assert await _signed_by(ca, second)  # nobody trusts the stranger yet
    sys.stdout.write(f"cacerts: a new intermediate signs after {seconds:.1f} s\n")
    with pytest.raises(NotFoundError):
        await secret(client)


async def test_a_ca_that_restarts_in_the_middle_of_a_rotation_of_what_is_plugged_in_goes_on(
    client: Client, config: str, tmp_path: Path
) -> None:
    """Nobody who was there before loses trust, and the waiting does not begin again."""
    now = CLOCK.now()
    old, new = (authority.generate(name, now=now) for name in ("old", "new"))
    both = old.root_pem + new.root_pem
    waits = {"certificate_seconds": 12, "confirm_seconds": 1}
    await kube.namespace(client, SYSTEM)
    await plug_in(client, authority.to_content(old), "POST")
    async with cluster_ca(tmp_path, client, config, roots=both, **waits) as ca:
        first = await ca.enrol("shop", "bob", "bob-1")
        await plug_in(client, authority.to_content(old) | {"root-cert.pem": both}, "PUT")
        await until(lambda: has_roots(client, "shop", both))
        published = CLOCK.monotonic()
        await plug_in(client, authority.to_content(new) | {"root-cert.pem": both}, "PUT")
        since = await _since(client, new)
    # The old signer is nowhere but in what the CA has recorded.
    async with cluster_ca(tmp_path, client, config, roots=both, **waits) as ca:
        again = await ca.enrol("shop", "bob", "bob-1")
        assert since == await _since(client, new) > now
        signs_on = CLOCK.monotonic() - published < waits["certificate_seconds"]
        assert not signs_on or again.roots == both
        assert not signs_on or _issuer(again) == _issuer(first)
        await until(lambda: _signed_with(ca, new), 90)
        seconds = CLOCK.monotonic() - published
        assert has_no_gap(await ca.enrol("shop", "bob", "bob-1"), both)
    sys.stdout.write(
        f"cacerts: the new root signs {seconds:.1f} s after it was published, with a restart in "
        "between (proof by age, 14 s)\n"
    )
    assert seconds >= waits["certificate_seconds"]


async def _since(client: Client, root: authority.Authority) -> float:
    """Return since when a root is in the bundle, as the CA has recorded it."""
    record = base64.b64decode((await secret(client, IN_USE))["data"]["in-use.json"])
    return float(json.loads(record)["since"][authority.identifier(root.certificate)])


def _issuer(material: tls.Material) -> str:
    leaf = bundle.parse(material.chain)[0]
    return str(leaf.issuer.rfc4514_string())


def has_no_gap(material: tls.Material, roots: bytes) -> bool:
    verify.chain(bundle.parse(material.chain), bundle.parse(roots), now=CLOCK.now())
    return True


async def _signed_with(ca: ClusterCa, by: authority.Authority) -> bool:
    return _issuer(await ca.enrol("shop", "bob", "bob-1")) == str(
        by.certificate.subject.rfc4514_string()
    )


async def test_a_stranger_who_is_plugged_in_signs_neither_after_a_restart_nor_unless_told(
    client: Client, config: str, tmp_path: Path
) -> None:
    now = CLOCK.now()
    old, stranger = (authority.generate(name, now=now) for name in ("old", "stranger"))
    both = old.root_pem + stranger.root_pem  # what this test's client believes
    await kube.namespace(client, SYSTEM)
    await plug_in(client, authority.to_content(old), "POST")
    async with cluster_ca(tmp_path, client, config, roots=both, confirm_seconds=3):
        await until(lambda: _is_there(client, IN_USE))
        await plug_in(client, authority.to_content(stranger), "PUT")
    async with cluster_ca(tmp_path, client, config, roots=both, confirm_seconds=3) as ca:
        assert await _signed_with(ca, old)
        await client.request("DELETE", f"{SECRETS}/{IN_USE}")
        await until(lambda: _is_there(client, IN_USE))  # the leader records it again
        assert await _signed_with(ca, old)
        word = {USE_NOW: authority.identifier(stranger.certificate)}
        body = {"metadata": {"annotations": word}}
        await client.request("PATCH", f"{SECRETS}/{PLUGGED_IN}", body=body, content_type=MERGE)
        await until(lambda: _signed_with(ca, stranger))


async def _is_there(client: Client, name: str) -> bool:
    try:
        await secret(client, name)
    except NotFoundError:
        return False
    return True


async def test_an_authority_plugged_in_beside_our_own_root_waits_also_over_a_restart(
    client: Client, config: str, tmp_path: Path
) -> None:
    stranger = authority.generate("stranger", now=CLOCK.now())
    async with cluster_ca(tmp_path, client, config, confirm_seconds=3) as ca:
        own = await own_roots(client)
        await plug_in(client, authority.to_content(stranger), "POST")
        await until(lambda: _is_there(client, IN_USE))
        assert (await ca.enrol("shop", "bob", "bob-1")).roots == own
    async with cluster_ca(tmp_path, client, config, roots=own, confirm_seconds=3) as ca:
        assert (await ca.enrol("shop", "bob", "bob-1")).roots == own
        await client.request("DELETE", f"{SECRETS}/{PLUGGED_IN}")
    async with cluster_ca(tmp_path, client, config, roots=own, confirm_seconds=1) as ca:
        await rotate(client, "now")  # it is our own root again, and goes on as such
        await until(lambda: _generation_is(client, 2))
        assert (await ca.enrol("shop", "bob", "bob-1")).roots == await own_roots(client)


async def plug_in(client: Client, content: dict[str, bytes], method: str) -> None:
    data = {name: base64.b64encode(value).decode() for name, value in content.items()}
    body = {"metadata": {"name": PLUGGED_IN}, "data": data}
    path = SECRETS if method == "POST" else f"{SECRETS}/{PLUGGED_IN}"
    await client.request(method, path, body=body)


async def _signed_by(ca: ClusterCa, by: authority.Authority) -> bool:
    material = await ca.enrol("shop", "bob", "bob-1")
    return bundle.parse(material.chain)[1] == by.certificate
