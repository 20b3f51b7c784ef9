"""Three replicas of the CA as processes, and who of them wrote what.

That is read from the API server's audit log: each replica has its own account.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from msgspec import Struct

from libs.kube.client import Client
from libs.kube.errors import NotFoundError
from libs.runtime.clock import SystemClock
from services.ca.cluster import LEASE
from services.ca.root_maps import NAME
from tests.support import audit, kube_apiserver
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer
from tests.support.kube_ca import RESOLV, SYSTEM
from tests.support.kubeconfig import write_kubeconfig
from tests.support.ports import free_ports
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
    for event in audit.events(folder / kube_apiserver.AUDIT_LOG):
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
    async with asyncio.timeout(120):
        while True:
            with contextlib.suppress(NotFoundError):
                await client.get(f"/api/v1/namespaces/{namespace}/configmaps/{NAME}")
                return CLOCK.monotonic() - started
            await CLOCK.sleep(0.05)


async def writer(client: Client, folder: Path, namespace: str) -> str:
    """Make a namespace and return which replica wrote its roots."""
    await kube.namespace(client, namespace)
    await has_map(client, namespace)
    async with asyncio.timeout(60):
        while not (found := [it.by for it in writes(folder) if it.namespace == namespace]):
            await CLOCK.sleep(0.1)  # the log is written a little later
    return found[0]
