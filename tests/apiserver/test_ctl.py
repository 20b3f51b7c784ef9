"""`seinectl` in a cluster: a real API server and a real control plane; the kubelet is ours."""

import asyncio
import itertools
import json
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml
from aiohttp import web

from libs.kube.client import Client
from libs.runtime.tasks import background
from services.ctl.cluster_plane import ADMIN_PORT, CONFIG_PUSH, DISCOVERY
from tests.support import kube_accounts as kube
from tests.support import kube_ctl
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_apps import kube_apps, place
from tests.support.kube_ca import SYSTEM
from tests.support.kube_ctl import Plane, Said, appear
from tests.support.kube_discovery import apply, define, delete
from tests.support.kubeconfig import write_kubeconfig
from tests.support.kubelet import kubelet

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]
SECONDS = 60.0
WEB = """
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {ports: [{port: 80, name: http}]}}
"""  # noqa: E501 - one object
WRONG = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: wrong, namespace: shop}
spec: {hosts: [web], http: [{route: [{destination: {host: web, subset: none}}]}]}
"""
BINDINGS = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest_asyncio.fixture(name="plane", scope="module", loop_scope="module")
async def control_plane(
    server: ApiServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Plane]:
    folder = tmp_path_factory.mktemp("plane")
    async with kube.client_of(server, folder) as client, kubelet(client, folder) as node:
        await define(client, "virtualservices")
        await kube.namespace(client, "shop")
        await apply(client, WEB)
        async with (
            kube_apps(folder, server, client) as apps,
            kube_ctl.plane(apps, node, folder) as plane,
        ):
            yield plane


@pytest.fixture(name="config")
def kubeconfig(server: ApiServer, tmp_path: Path) -> str:
    return str(write_kubeconfig(server, tmp_path / "kubeconfig-of-a-person"))


@asynccontextmanager
async def _two_proxies(plane: Plane) -> AsyncIterator[None]:
    async with (
        plane.proxy("web-1", replica=0, address="10.1.0.1"),
        plane.proxy("web-2", replica=1, address="10.1.0.2"),
    ):
        yield


@asynccontextmanager
async def _gone_replica(plane: Plane, name: str, phase: str = "Running") -> AsyncIterator[None]:
    """Have a replica of config-push that does not answer."""
    await appear(plane.client, CONFIG_PUSH, name, phase=phase)
    try:
        yield
    finally:
        await kube.delete_pod(plane.client, SYSTEM, name)


async def _until(ask: Callable[[], Awaitable[Said]], holds: Callable[[Said], bool]) -> Said:
    """Return the first answer that is right; nothing tells when there will be one."""
    async with asyncio.timeout(SECONDS):
        while True:
            if holds(found := await ask()):
                return found
            await asyncio.sleep(0.1)


async def test_proxy_status_adds_up_all_replicas(plane: Plane, config: str) -> None:
    async with _two_proxies(plane):
        said = await _until(
            lambda: kube_ctl.run("proxy-status", "--kubeconfig", config, "-o", "json"),
            lambda said: [row["CDS"] for row in said.data] == ["SYNCED", "SYNCED"],
        )
        assert (said.code, said.err) == (0, "")
        where = {row["proxy"]: row["replica"] for row in said.data}
        assert where == {"web-1.shop": f"{CONFIG_PUSH}-1", "web-2.shop": f"{CONFIG_PUSH}-2"}
        said = await kube_ctl.run("proxy-status", "--kubeconfig", config, "-n", "other")
        assert (said.code, "web-1" in said.out) == (0, False)


async def test_proxies_of_all_revisions_are_shown(plane: Plane, config: str) -> None:
    """An overlay of a revision gives its pods another name, and a label."""
    name = f"{CONFIG_PUSH}-2"
    await appear(plane.client, CONFIG_PUSH, name, revision="canary")
    try:
        async with _two_proxies(plane):
            said = await kube_ctl.run("proxy-status", "--kubeconfig", config, "-o", "json")
    finally:
        await appear(plane.client, CONFIG_PUSH, name)
    assert {row["proxy"]: row["replica"] for row in said.data}["web-2.shop"] == name


@pytest.mark.parametrize(
    ("phase", "reason"), [("Running", "error forwarding port"), ("Pending", "it is Pending")]
)
async def test_a_replica_that_does_not_answer_is_named_and_the_others_are_shown(
    plane: Plane, config: str, phase: str, reason: str
) -> None:
    async with _two_proxies(plane), _gone_replica(plane, f"{CONFIG_PUSH}-3", phase):
        said = await kube_ctl.run("proxy-status", "--kubeconfig", config, "-o", "json")
    assert said.code == 1
    assert [row["proxy"] for row in said.data] == ["web-1.shop", "web-2.shop"]
    assert f"{CONFIG_PUSH}-3 did not answer" in said.err
    assert reason in said.err


async def test_a_proxy_that_moved_is_where_it_connected_last(plane: Plane, config: str) -> None:
    async with (
        plane.proxy("web-1", replica=1, address="10.1.0.1"),
        plane.proxy("web-1", replica=0, address="10.1.0.1"),
    ):
        said = await kube_ctl.run("proxy-status", "--kubeconfig", config, "-o", "json")
    where = [row["replica"] for row in said.data if row["proxy"] == "web-1.shop"]
    assert where == [f"{CONFIG_PUSH}-1"]


async def test_proxy_config_asks_the_replica_that_has_the_proxy(plane: Plane, config: str) -> None:
    async with _two_proxies(plane):
        for name in ("web-1", "web-2"):
            words = ("proxy-config", "cluster", name, "-n", "shop", "-o", "json")
            said = await kube_ctl.run(*words, "--kubeconfig", config)
            assert said.code == 0, said.err
            found = {one["name"]: one.get("sources") for one in said.data}
            assert found["outbound|80||web.shop.svc.cluster.local"] == ["Service/shop/web"]
        said = await kube_ctl.run("proxy-config", "cluster", "db.shop", "--kubeconfig", config)
    assert said.code == 2
    assert "no proxy db.shop is connected" in said.err
    assert "Proxies are: web-1.shop web-2.shop" in said.err


async def test_secrets_are_what_the_envoy_of_the_pod_holds(plane: Plane, config: str) -> None:
    async def certs(_: web.Request) -> web.Response:
        chain = {"serial_number": "7", "subject_alt_names": [{"uri": "spiffe://a/ns/shop/sa/b"}]}
        return web.json_response({"certificates": [{"cert_chain": [chain]}]})

    application = web.Application()
    application.add_routes([web.get("/certs", certs)])
    runner = web.AppRunner(application, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await place(plane.client, "shop", "web-1", by="default", address="10.1.0.1")
        plane.node.ports["web-1", ADMIN_PORT] = runner.addresses[0][1]
        words = ("proxy-config", "secret", "web-1.shop", "-o", "json")
        said = await kube_ctl.run(*words, "--kubeconfig", config)
    finally:
        del plane.node.ports["web-1", ADMIN_PORT]
        await runner.cleanup()
    assert said.code == 0, said.err
    assert [(one["kind"], one["serial_number"]) for one in said.data] == [("certificate", "7")]


async def test_receipts_of_all_replicas_are_one(plane: Plane, config: str) -> None:
    def settled(said: Said) -> bool:
        return said.code == 0 and any(
            one["settled"] and one["acknowledged"] == 2 for one in said.data
        )

    ref = "Service/shop/later"
    async with _two_proxies(plane):
        await apply(plane.client, WEB.replace("web", "later"))
        try:
            said = await _until(
                lambda: kube_ctl.run("receipts", ref, "-o", "json", "--kubeconfig", config), settled
            )
        finally:
            await delete(plane.client, "Service", "shop", "later")
    (found,) = (one for one in said.data if ref in one["causes"])
    assert (found["connected"], found["sent"], found["pending"]) == (2, 2, 0)


async def test_receipts_are_followed_as_they_settle(plane: Plane, config: str) -> None:
    """How those of several replicas are added up is tried where their order can be chosen."""
    words = ["receipts", "--watch", "-o", "json", "--kubeconfig", config]
    command = [sys.executable, "-m", "services.ctl", *words]
    async with _two_proxies(plane):
        watching = await asyncio.create_subprocess_exec(*command, stdout=PIPE, cwd=ROOT)
        assert watching.stdout is not None
        try:
            async with asyncio.timeout(3 * SECONDS), background(_go_on_changing(plane.client)):
                found: dict[str, Any] = {}
                while not (found.get("acknowledged") and _is_one_more(found)):
                    found = json.loads(await watching.stdout.readline())
                    assert found["settled"]
        finally:
            watching.send_signal(signal.SIGINT)
            await watching.wait()
    assert found["pending"] == 0


def _is_one_more(receipt: dict[str, Any]) -> bool:
    """Tell it from what became of changes of before, which may settle late."""
    return bool(receipt["causes"][0].startswith("Service/shop/more-"))


async def _go_on_changing(client: Client) -> None:
    """Nothing tells when somebody follows, and what was before is not shown."""
    for number in itertools.count():
        await apply(client, WEB.replace("web", f"more-{number}"))
        try:
            await asyncio.sleep(1.0)
        finally:
            await delete(client, "Service", "shop", f"more-{number}")


async def test_problems_and_analysis_are_discoverys(plane: Plane, config: str) -> None:
    await apply(plane.client, WRONG)
    try:
        said = await _until(
            lambda: kube_ctl.run("problems", "-o", "json", "--kubeconfig", config),
            lambda said: said.code in {0, 1} and "VirtualService/shop/wrong" in said.out,
        )
        (found,) = (one for one in said.data if one["ref"] == "VirtualService/shop/wrong")
        assert found["path"].startswith("spec.http[0].route[0].destination")
        said = await kube_ctl.run("problems", "-n", "other", "--kubeconfig", config)
        assert "wrong" not in said.out
        said = await kube_ctl.run("analyze", "-o", "json", "--kubeconfig", config)
        assert any(one["ref"] == "VirtualService/shop/wrong" for one in said.data)
    finally:
        await delete(plane.client, "VirtualService", "shop", "wrong")


async def test_a_command_runs_in_the_pods_own_container(plane: Plane, config: str) -> None:
    await place(plane.client, "shop", "web-1", by="default", address="10.1.0.1")
    plane.node.commands["curl http://reviews"] = (b"stars\n", b"slow\n", 22)
    words = ("exec", "--kubeconfig", config, "web-1.shop", "--", "curl", "http://reviews")
    said = await kube_ctl.run(*words)
    assert (said.code, said.out, said.err) == (22, "stars\n", "slow\n")
    assert plane.node.asked[-1] == "app"


async def test_check_looks_at_every_pod_and_says_who_is_missing(plane: Plane, config: str) -> None:
    await place(plane.client, "shop", "lost-1", by="default", address="10.1.0.9")
    label = {"metadata": {"labels": {"security.istio.io/tlsMode": "istio"}}}
    path, kind = "/api/v1/namespaces/shop/pods/lost-1", "application/merge-patch+json"
    await plane.client.request("PATCH", path, body=label, content_type=kind)
    try:
        async with _two_proxies(plane):
            said = await kube_ctl.run("check", "-o", "json", "--kubeconfig", config)
    finally:
        await kube.delete_pod(plane.client, "shop", "lost-1")
    assert said.code == 1
    found = {one["subject"]: one for one in said.data}
    ours = ("seine-ca-1", f"{DISCOVERY}-1", f"{CONFIG_PUSH}-1", f"{CONFIG_PUSH}-2")
    assert all(found[name]["text"].startswith("ready, version") for name in ours)
    assert not found["seine-webhook"]["good"]
    assert found["seine-webhook"]["text"] == f"no pods in namespace {SYSTEM}"
    assert found["proxies"]["text"] == "2 connected and ready"
    assert found["pods with a proxy"]["text"] == "lost-1.shop not connected"
    assert found["configuration"]["good"]


@pytest.mark.usefixtures("plane")
async def test_what_cannot_be_is_said_with_the_reason(config: str, tmp_path: Path) -> None:
    nowhere = _nowhere(config, tmp_path)
    said = await kube_ctl.run("proxy-status", "--kubeconfig", str(nowhere))
    assert said.code == 2
    assert f"kubeconfig: {nowhere}" in said.err

    said = await kube_ctl.run("proxy-status", "--kubeconfig", config, "-i", "shop")
    assert said.code == 2
    assert "no control plane in namespace shop" in said.err
    said = await kube_ctl.run("proxy-status", "--kubeconfig", config, "--context", "other")
    assert said.code == 2
    assert "other" in said.err
    said = await kube_ctl.run("problems", "--kubeconfig", config, "--mesh", "state.json")
    assert said.code == 2
    assert "say one" in said.err


def _nowhere(config: str, folder: Path) -> Path:
    """Return a kubeconfig of a cluster where nobody answers."""
    content = yaml.safe_load(Path(config).read_text())
    content["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    path = folder / "nowhere"
    path.write_text(yaml.safe_dump(content))
    return path


async def test_the_documented_roles_are_enough_and_less_is_not(
    plane: Plane, server: ApiServer, tmp_path: Path
) -> None:
    client = plane.client
    await kube.account(client, "shop", "person")
    token = await kube.token(client, "shop", "person", audiences=())
    config = str(write_kubeconfig(server, tmp_path / "person", token=token))
    words = ("check", "-o", "json", "--kubeconfig", config)
    said = await kube_ctl.run(*words)
    assert said.code == 2
    assert 'cannot list resource "pods"' in said.err
    assert "deploy/viewer.yaml" in said.err

    for role in yaml.safe_load_all((ROOT / "deploy/viewer.yaml").read_text()):
        await kube.ensure(client, f"{BINDINGS}/clusterroles", role)
    await _bind(client, "seine-viewer", f"namespaces/{SYSTEM}/rolebindings")
    said = await kube_ctl.run(*words)
    found = {one["subject"]: one for one in said.data}
    assert found["configuration"]["good"]
    assert "not allowed" in found["pods with a proxy"]["text"]
    assert "not looked at" in found["admission"]["text"]
    await _bind(client, "seine-reader", "clusterrolebindings")
    said = await kube_ctl.run(*words)
    found = {one["subject"]: one for one in said.data}
    assert "connected" in found["pods with a proxy"]["text"]
    assert "not allowed" not in found["pods with a proxy"]["text"]
    assert "somebody answers each" in found["admission"]["text"]
    assert "not looked at" not in found["leftovers"]["text"]

    rules = yaml.safe_load_all((ROOT / "deploy/viewer.yaml").read_text())
    viewer = next(rules)
    viewer["rules"] = [it for it in viewer["rules"] if it["resources"] == ["pods"]]
    path = f"{BINDINGS}/clusterroles/seine-viewer"
    await client.request("PUT", path, body=viewer)
    said = await kube_ctl.run("problems", "--kubeconfig", config)
    assert said.code == 2
    assert f"create and get of pods/portforward in namespace {SYSTEM}" in said.err


async def _bind(client: Client, role: str, path: str) -> None:
    body: dict[str, Any] = {
        "metadata": {"name": role},
        "roleRef": {
            "kind": "ClusterRole",
            "name": role,
            "apiGroup": "rbac.authorization.k8s.io",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "person", "namespace": "shop"}],
    }
    await kube.ensure(client, f"{BINDINGS}/{path}", body)


PAGES = ("registryz", "problems", "analysis")


async def _statuses(plane: Plane, token: str) -> list[int]:
    found = []
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for page in PAGES:
            url = f"http://127.0.0.1:{plane.apps.discovery.monitoring}/debug/{page}"
            async with session.get(url) as answer:
                found.append(answer.status)
    return found


async def test_tokens_open_discoverys_pages_for_the_system_namespace_alone(plane: Plane) -> None:
    client = plane.client
    system = await kube.pod(client, SYSTEM, "reader-1", by="reader")
    good = await kube.token(client, SYSTEM, "reader", bound=system)
    other = await kube.pod_token(client, "shop", "reader-1", by="reader")
    unbound = await kube.token(client, SYSTEM, "reader")
    elsewhere = await kube.token(client, SYSTEM, "reader", bound=system, audiences=("vault",))
    assert await _statuses(plane, good) == [200] * len(PAGES)
    assert await _statuses(plane, other) == [403] * len(PAGES)
    for token in (unbound, elsewhere, good[:-4] + "AAAA", "nonsense"):
        assert await _statuses(plane, token) == [401] * len(PAGES)
