"""`seinectl` at a test's API server, and the pods of the control plane that it finds there."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from envoy.config.core.v3 import base_pb2
from msgspec import Struct
from typer.testing import CliRunner

from libs.kube.client import Client
from libs.model import revisions
from libs.rpc import channel, tls
from libs.runtime.tasks import background
from libs.xds.types import CLUSTER
from services.config_push import app as push_app
from services.config_push.settings import Settings as PushSettings
from services.ctl.app import app as seinectl
from services.ctl.cluster_plane import CONFIG_PUSH, DISCOVERY, LABEL, MONITORING_PORT
from tests.support import kube_accounts as kube
from tests.support.kube_apps import ISTIOD, KubeApps, place
from tests.support.kube_ca import SYSTEM
from tests.support.kubelet import Kubelet
from tests.support.push_plane import ConnectedProxy
from tests.support.xds_client import DeltaClient

_MERGE = "application/merge-patch+json"


class Said(Struct, frozen=True):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:  # noqa: ANN401  # JSON
        return json.loads(self.out)


async def run(*words: str, environment: dict[str, str] | None = None) -> Said:
    """Run a command, in a thread: it has an event loop of its own."""
    done = await asyncio.to_thread(CliRunner().invoke, seinectl, list(words), env=environment)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Said(done.exit_code, done.stdout, done.stderr)


async def appear(
    client: Client, service: str, name: str, *, phase: str = "Running", revision: str = ""
) -> None:
    """Have a pod of the control plane be there, as its Deployment would."""
    await kube.pod(client, SYSTEM, name, by=service)
    path = f"/api/v1/namespaces/{SYSTEM}/pods/{name}"
    labels = {LABEL: revisions.named(service, revision), "istio.io/rev": revision or None}
    await client.request("PATCH", path, body={"metadata": {"labels": labels}}, content_type=_MERGE)
    status = {"phase": phase, "conditions": [{"type": "Ready", "status": "True"}]}
    body = {"status": status}
    await client.request("PATCH", f"{path}/status", body=body, content_type=_MERGE)


class Plane:
    """A control plane with two replicas of config-push, each with a pod."""

    def __init__(self, apps: KubeApps, node: Kubelet, pushes: tuple[push_app.Bound, ...]) -> None:
        self.apps = apps
        self.node = node
        self.client = apps.client
        self._pushes = pushes

    @asynccontextmanager
    async def proxy(self, name: str, *, replica: int, address: str) -> AsyncIterator[DeltaClient]:
        """Connect a proxy of a pod of namespace shop, which accepts everything."""
        token = await place(self.client, "shop", name, by="default", address=address)
        client = DeltaClient(
            base_pb2.Node(id=f"sidecar~{address}~{name}.shop~shop.svc.cluster.local")
        )
        credentials = tls.trusting(self.apps.ca.roots)
        at = f"127.0.0.1:{self._pushes[replica].xds}"
        async with channel.connect(at, credentials=credentials, server_name=ISTIOD) as opened:
            over = [("authorization", f"Bearer {token}")]
            proxy = ConnectedProxy(client, opened, metadata=over)
            await proxy.send(client.subscribe(CLUSTER))
            await proxy.receive()
            try:
                async with background(_accept(proxy)):
                    yield client
            finally:
                proxy.call.cancel()


async def _accept(proxy: ConnectedProxy) -> None:
    while True:
        await proxy.receive()


@asynccontextmanager
async def plane(apps: KubeApps, node: Kubelet, folder: Path) -> AsyncIterator[Plane]:
    """Run a second config-push, and give everybody a pod whose port leads to them."""
    async with AsyncExitStack() as stack:
        settings = PushSettings(
            xds_port=0,
            mtls_port=0,
            monitoring_port=0,
            kubeconfig=str(folder / "config"),
            discovery_address=f"127.0.0.1:{apps.discovery.feed}",
            ca_address=f"127.0.0.1:{apps.ca.bound.token}",
            ca_mtls_address=f"127.0.0.1:{apps.ca.bound.mtls}",
            ca_root_file=folder / "roots.pem",
            token_file=folder / f"{CONFIG_PUSH}.token",
        )
        second = await stack.enter_async_context(push_app.running(settings))
        await _ready(second.monitoring)
        ports = {
            "seine-ca-1": apps.ca.bound.monitoring,
            f"{DISCOVERY}-1": apps.discovery.monitoring,
            f"{CONFIG_PUSH}-1": apps.push.monitoring,
            f"{CONFIG_PUSH}-2": second.monitoring,
        }
        for name, port in ports.items():
            await appear(apps.client, name[:-2], name)
            node.ports[name, MONITORING_PORT] = port
        yield Plane(apps, node, (apps.push, second))


async def _ready(port: int) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            async with session.get(f"http://127.0.0.1:{port}/ready") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.05)  # nothing tells when, but asking
