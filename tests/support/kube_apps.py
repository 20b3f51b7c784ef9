"""CA, discovery and config-push in this process, in a cluster that is a real API server."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio

from libs.kube.client import Client
from libs.rpc import channel, tls
from services.config_push import app as push_app
from services.config_push.settings import Settings as PushSettings
from services.discovery import app as discovery_app
from services.discovery.settings import Settings as DiscoverySettings
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer
from tests.support.kube_ca import SYSTEM, ClusterCa, cluster_ca
from tests.support.kubeconfig import write_kubeconfig
from tests.support.ports import free_ports

ISTIOD = f"istiod.{SYSTEM}.svc"


class KubeApps:
    """A running control plane."""

    def __init__(
        self,
        ca: ClusterCa,
        push: push_app.Bound,
        client: Client,
        *,
        discovery: discovery_app.Bound,
    ) -> None:
        self.ca = ca
        self.discovery = discovery
        self.push = push
        self.client = client

    @asynccontextmanager
    async def agent(self, material: tls.Material | None = None) -> AsyncIterator[grpc.aio.Channel]:
        """Open a channel as an agent does: to the token port, or the other with a certificate."""
        credentials = (
            tls.Keychain(material).channel_credentials()
            if material
            else tls.trusting(self.ca.roots)
        )
        port = self.push.mtls if material else self.push.xds
        address = f"127.0.0.1:{port}"
        async with channel.connect(address, credentials=credentials, server_name=ISTIOD) as opened:
            yield opened


async def place(client: Client, namespace: str, name: str, *, by: str, address: str) -> str:
    """Create a pod that runs and is ready at an address, and return its token."""
    token = await kube.pod_token(client, namespace, name, by=by)
    status = {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/status"
    kind = "application/merge-patch+json"
    await client.request("PATCH", path, body={"status": status}, content_type=kind)
    return token


@asynccontextmanager
async def kube_apps(
    folder: Path,
    server: ApiServer,
    client: Client,
    own: Mapping[str, str] | None = None,
    *,
    of_discovery: Mapping[str, Any] | None = None,
    **of_ca: Any,  # noqa: ANN401  # any setting
) -> AsyncIterator[KubeApps]:
    """Run all three while the block runs; config-push has a mesh when it begins.

    `own`: kubeconfigs of discovery and config-push by their accounts, if they are to have less
    than the administrator's rights.
    """
    config = str(write_kubeconfig(server, folder / "config"))
    configs = {"seine-discovery": config, "seine-config-push": config} | dict(own or {})
    (mtls,) = free_ports(1)
    async with cluster_ca(folder, client, config, config_push_port=mtls, **of_ca) as ca:
        roots = folder / "roots.pem"
        roots.write_bytes(ca.roots)
        tokens = await _tokens(client, folder, ("seine-discovery", "seine-config-push"))
        discovery = DiscoverySettings(
            port=0,
            monitoring_port=0,
            kubeconfig=configs["seine-discovery"],
            resolv_conf=folder / "resolv.conf",
            ca_address=f"127.0.0.1:{ca.bound.token}",
            ca_root_file=roots,
            token_file=tokens[0],
            config_push_address=f"127.0.0.1:{mtls}",
            **(of_discovery or {}),
        )
        async with discovery_app.running(discovery) as found:
            push = PushSettings(
                xds_port=0,
                mtls_port=mtls,
                monitoring_port=0,
                kubeconfig=configs["seine-config-push"],
                discovery_address=f"127.0.0.1:{found.feed}",
                ca_address=f"127.0.0.1:{ca.bound.token}",
                ca_mtls_address=f"127.0.0.1:{ca.bound.mtls}",
                ca_root_file=roots,
                token_file=tokens[1],
            )
            async with push_app.running(push) as bound:
                await _ready(bound.monitoring)
                yield KubeApps(ca, bound, client, discovery=found)


async def _tokens(client: Client, folder: Path, accounts: Sequence[str]) -> list[Path]:
    found = []
    for account in accounts:
        path = folder / f"{account}.token"
        path.write_text(await kube.pod_token(client, SYSTEM, f"{account}-1", by=account))
        found.append(path)
    return found


async def _ready(port: int) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            async with session.get(f"http://127.0.0.1:{port}/ready") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.02)
