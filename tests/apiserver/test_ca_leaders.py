"""Three replicas of the CA as processes; the leader is stopped: nobody writes over anybody.

Who wrote what is read from the API server's audit log: each replica has its own account.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from msgspec import Struct

from libs.kube.client import Client
from libs.kube.errors import NotFoundError
from libs.runtime.clock import SystemClock
from services.ca.cluster import LEASE
from services.ca.root_maps import NAME
from tests.support import kube_accounts as kube
from tests.support import kube_apiserver
from tests.support.envoy import free_ports
from tests.support.kube_apiserver import ApiServer
from tests.support.kube_ca import RESOLV, SYSTEM
from tests.support.kubeconfig import write_kubeconfig
from tests.tools.reference import ROOT

CLOCK = SystemClock()
REPLICAS = ("ca-0", "ca-1", "ca-2")
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"
POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    verbs: [create, update, patch, delete]
    resources: [{group: "", resources: [configmaps, secrets]}]
  - level: None
"""


class Write(Struct, frozen=True):
    """One write that the server carried out."""

    at: str
    by: str
    namespace: str


@pytest.fixture(name="folder")
def audited_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "api"
    folder.mkdir()
    return folder


@pytest.fixture(name="server")
def api_server(folder: Path) -> Iterator[ApiServer]:
    with kube_apiserver.running(folder, POLICY) as server:
        yield server


@pytest.fixture(name="client")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        await kube.namespace(client, SYSTEM)
        yield client


@contextlib.asynccontextmanager
async def replicas(
    client: Client, server: ApiServer, folder: Path
) -> AsyncIterator[dict[str, subprocess.Popen[bytes]]]:
    """Run three CAs, each with an account of its own that may do everything."""
    running: dict[str, subprocess.Popen[bytes]] = {}
    (folder / "resolv.conf").write_text(RESOLV)
    try:
        for name in REPLICAS:
            running[name] = await _started(client, server, folder, name)
        yield running
    finally:
        for process in running.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


async def _started(
    client: Client, server: ApiServer, folder: Path, name: str
) -> subprocess.Popen[bytes]:
    await kube.account(client, SYSTEM, name)
    subject = {"kind": "ServiceAccount", "name": name, "namespace": SYSTEM}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    body = {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]}
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    await kube.ensure(client, path, body)
    token = await kube.token(client, SYSTEM, name, audiences=())
    config = write_kubeconfig(server, folder / f"config-{name}", token=token)
    ports = free_ports(3)
    environment = {
        **{key: os.environ[key] for key in ("PATH", "HOME")},  # noqa: TID251  # a child's own
        "PYTHONPATH": str(ROOT),
        "SEINE_KUBECONFIG": str(config),
        "SEINE_RESOLV_CONF": str(folder / "resolv.conf"),
        "SEINE_PORT": str(ports[0]),
        "SEINE_MTLS_PORT": str(ports[1]),
        "SEINE_MONITORING_PORT": str(ports[2]),
    }
    return _process(environment, folder / f"{name}.log")


def _process(environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        command = [sys.executable, "-m", "services.ca"]
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output)


def writes(folder: Path) -> list[Write]:
    """Return what replicas wrote into namespaces, in the order in which the server did it."""
    found = []
    for line in (folder / kube_apiserver.AUDIT_LOG).read_text().splitlines():
        event = json.loads(line)
        by = event["user"]["username"].rpartition(":")[2]
        where = event["objectRef"]
        if (
            by in REPLICAS
            and where.get("name", NAME) == NAME
            and event["responseStatus"]["code"] < 300
        ):
            found.append(Write(event["stageTimestamp"], by, where.get("namespace", "")))
    return sorted(found, key=lambda write: write.at)


async def leader(client: Client, other_than: str = "") -> str:
    """Return which process' account leads, once that is somebody else."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(NotFoundError):
                found = (await client.get(f"{LEASES}/{LEASE}"))["spec"].get("holderIdentity", "")
                if found and found != other_than:
                    return str(found)
            await CLOCK.sleep(0.1)


async def has_map(client: Client, namespace: str) -> float:
    """Return how many seconds it took until a namespace had its roots."""
    started = CLOCK.monotonic()
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(NotFoundError):
                await client.get(f"/api/v1/namespaces/{namespace}/configmaps/{NAME}")
                return CLOCK.monotonic() - started
            await CLOCK.sleep(0.05)


async def writer(client: Client, folder: Path, namespace: str) -> str:
    """Make a namespace and return which replica wrote its roots."""
    await kube.namespace(client, namespace)
    await has_map(client, namespace)
    async with asyncio.timeout(10):
        while not (found := [it.by for it in writes(folder) if it.namespace == namespace]):
            await CLOCK.sleep(0.1)  # the log is written a little later
    return found[0]


async def test_a_leader_that_was_stopped_writes_nothing_when_it_wakes_up(
    client: Client, server: ApiServer, folder: Path
) -> None:
    async with replicas(client, server, folder) as running:
        holder = await leader(client)
        first = await writer(client, folder, "before")
        running[first].send_signal(signal.SIGSTOP)
        stopped = CLOCK.monotonic()
        await kube.namespace(client, "meanwhile")
        await has_map(client, "meanwhile")
        failover = CLOCK.monotonic() - stopped
        assert await leader(client, other_than=holder)
        for number in range(20):
            await kube.namespace(client, f"during-{number}")
        running[first].send_signal(signal.SIGCONT)
        for number in range(20):
            await kube.namespace(client, f"after-{number}")
        await asyncio.gather(*(has_map(client, f"after-{number}") for number in range(20)))
        second = await writer(client, folder, "last")
        await CLOCK.sleep(3)  # what the old one would write it would have written by now
        found = writes(folder)
    began = next(write.at for write in found if write.by == second)
    late = [write for write in found if write.by != second and write.at > began]
    twice = len(found) - len({write.namespace for write in found})
    sys.stdout.write(
        f"leaders: {len(found)} writes by {len({it.by for it in found})} leaders, failover "
        f"{failover:.1f} s after SIGSTOP, writes of the stopped one after its successor's first = "
        f"{len(late)}, namespaces written twice = {twice}\n"
    )
    assert second != first
    assert late == []
    assert twice == 0


async def test_a_leader_that_ends_is_followed_at_once(
    client: Client, server: ApiServer, folder: Path
) -> None:
    async with replicas(client, server, folder) as running:
        first = await writer(client, folder, "before")
        running[first].send_signal(signal.SIGTERM)
        ended = CLOCK.monotonic()
        await asyncio.to_thread(running[first].wait, 10)  # it may write until it lets go
        second = await writer(client, folder, "after")
        seconds = CLOCK.monotonic() - ended
    sys.stdout.write(f"leaders: next one wrote {seconds:.1f} s after SIGTERM\n")
    assert second != first
