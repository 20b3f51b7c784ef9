"""`seinectl workload entry configure` at a real API server: what it writes, and what it says."""

import asyncio
import base64
import json
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from libs.kube.client import Client
from libs.kube.errors import TokenRefusedError
from libs.kube.tokens import Reviewer
from libs.runtime.clock import SystemClock
from services.ca.machine_accounts import MachineAccounts
from services.ctl.app import app
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_discovery import define
from tests.support.kubeconfig import write_kubeconfig

SYSTEM = "istio-system"
GROUPS = "/apis/networking.istio.io/v1/namespaces/shop/workloadgroups"
FILES = {"cluster.env", "mesh.yaml", "root-cert.pem", "hosts", "istio-token"}


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="client")
async def cluster(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        await define(client, "workloadgroups")
        await kube.namespace(client, SYSTEM)
        await kube.account(client, "shop", "vm")
        await _config_map(client, "shop", "istio-ca-root-cert", {"root-cert.pem": "ROOTS\n"})
        mesh = "trustDomain: corp.example\ndefaultConfig: {meshId: one}"
        await _config_map(client, SYSTEM, "istio", {"mesh": mesh})
        values = json.dumps({"global": {"multiCluster": {"clusterName": "c-1"}}})
        await _config_map(client, SYSTEM, "istio-sidecar-injector", {"values": values})
        yield client


async def _config_map(client: Client, namespace: str, name: str, data: dict[str, str]) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await kube.ensure(client, path, {"metadata": {"name": name}, "data": data})


class Line:
    """The command line of the cluster's administrator."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.folder = folder / "machine"
        self._kubeconfig = str(write_kubeconfig(server, folder / "config"))

    def create(self, path: Path, *words: str) -> dict[str, Any]:
        """Write a group's manifest, and return it."""
        line = ["workload", "group", "create", "--name", "db", "-n", "shop", *words]
        done = CliRunner().invoke(app, line)
        assert done.exit_code == 0, done.output
        path.write_text(done.output)
        found: dict[str, Any] = yaml.safe_load(done.output)
        return found

    async def configure(self, *words: str) -> Result:
        line = ["workload", "entry", "configure", "-o", str(self.folder), *words]
        line += ["--kubeconfig", self._kubeconfig]
        return await asyncio.to_thread(CliRunner().invoke, app, line)

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()


@pytest.fixture(name="line")
def command_line(server: ApiServer, tmp_path: Path) -> Line:
    return Line(server, tmp_path)


async def test_a_folder_is_written_whose_token_counts_once_the_group_is_there(
    client: Client, line: Line, tmp_path: Path
) -> None:
    manifest = tmp_path / "group.yaml"
    made = line.create(manifest, "--serviceAccount", "vm", "--labels", "app=db")
    done = await line.configure("-f", str(manifest), "--autoregister", "--ingressIP", "192.0.2.1")
    assert done.exit_code == 0, done.output
    assert "not in the cluster" in done.stderr
    assert {path.name for path in line.folder.iterdir()} == FILES
    assert line.text("root-cert.pem") == "ROOTS\n"
    assert line.text("hosts") == "192.0.2.1 istiod.istio-system.svc\n"
    assert "ISTIO_META_AUTO_REGISTER_GROUP='db'\n" in line.text("cluster.env")
    assert "ISTIO_META_CLUSTER_ID='c-1'\n" in line.text("cluster.env")
    proxy = yaml.safe_load(line.text("mesh.yaml"))["defaultConfig"]
    assert proxy["proxyMetadata"]["TRUST_DOMAIN"] == "corp.example"
    assert stat.S_IMODE((line.folder / "istio-token").stat().st_mode) == 0o600
    token = line.text("istio-token")
    reviewer = Reviewer(client, clock=SystemClock(), for_machines=MachineAccounts(client).may)
    with pytest.raises(TokenRefusedError):
        await reviewer.review(token)
    await client.request("POST", GROUPS, body=made)
    fresh = Reviewer(client, clock=SystemClock(), for_machines=MachineAccounts(client).may)
    found = await fresh.review(token)
    assert (found.namespace, found.service_account, found.pod) == ("shop", "vm", "")
    await client.request("DELETE", f"{GROUPS}/db")


async def test_a_group_in_the_cluster_is_found_by_its_name(
    client: Client, line: Line, tmp_path: Path
) -> None:
    made = line.create(tmp_path / "group.yaml", "--serviceAccount", "vm")
    await client.request("POST", GROUPS, body=made)
    gateway = {
        "metadata": {"name": "istio-eastwestgateway"},
        "spec": {"ports": [{"port": 15012}], "externalIPs": ["198.51.100.4"]},
    }
    await kube.ensure(client, f"/api/v1/namespaces/{SYSTEM}/services", gateway)
    named = ("--name", "db", "--namespace", "shop", "--tokenDuration", "1200")
    done = await line.configure(*named)
    assert (done.exit_code, done.stderr) == (0, "")
    assert line.text("hosts") == "198.51.100.4 istiod.istio-system.svc\n"
    claims = line.text("istio-token").split(".")[1]
    body = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert (body["aud"], body["exp"] - body["iat"]) == (["istio-ca"], 1200)
    first = line.text("istio-token")
    (line.folder / "istio-token").chmod(0o644)
    assert (await line.configure(*named, "--clusterID", "other")).exit_code == 0
    assert line.text("istio-token") != first
    assert stat.S_IMODE((line.folder / "istio-token").stat().st_mode) == 0o600
    assert "ISTIO_META_CLUSTER_ID='other'\n" in line.text("cluster.env")
    await client.request("DELETE", f"{GROUPS}/db")


async def test_what_is_missing_is_named_and_nothing_is_written(
    client: Client, line: Line, tmp_path: Path
) -> None:
    done = await line.configure("--name", "db", "--namespace", "shop")
    assert "there is no WorkloadGroup db in namespace shop" in done.stderr
    manifest = tmp_path / "group.yaml"
    line.create(manifest, "--serviceAccount", "nobody")
    done = await line.configure("-f", str(manifest))
    assert "there is no service account nobody in namespace shop" in done.stderr
    manifest.write_text(manifest.read_text().replace("shop", "bare"))
    await kube.namespace(client, "bare")
    done = await line.configure("-f", str(manifest))
    assert "bare has no ConfigMap istio-ca-root-cert" in done.stderr
    assert done.exit_code == 2
    assert not line.folder.exists()
