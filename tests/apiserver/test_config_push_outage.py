"""Config-push that restarts while its API server is away, beside a CA that can ask nobody."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc.aio
import pytest
from envoy.config.core.v3 import base_pb2
from msgspec import structs

from libs.rpc import channel, tls
from libs.xds.types import CLUSTER
from services.config_push import app as push_app
from services.config_push.settings import Settings
from tests.support import kube_accounts as kube
from tests.support.kube_apps import ISTIOD, KubeApps, kube_apps
from tests.support.kube_ca import SYSTEM
from tests.support.kube_discovery import apply
from tests.support.kube_machine import Machine, machine
from tests.support.kubeconfig import write_kubeconfig
from tests.support.push_plane import ConnectedProxy, EndedError
from tests.support.xds_client import DeltaClient

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.77, ports: [{name: http, port: 80}]}
"""
WEB = "outbound|80||web.shop.svc.cluster.local"


@pytest.fixture
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("kubernetes")) as found:
        yield found


async def _settings(apps: KubeApps, kubernetes: Machine, folder: Path) -> Settings:
    """Return settings of one more config-push beside the others."""
    token = folder / "push-2.token"
    made = await kube.pod_token(apps.client, SYSTEM, "push-2", by="seine-config-push")
    await asyncio.to_thread(token.write_text, made)
    return Settings(
        xds_port=0,
        mtls_port=0,
        monitoring_port=0,
        kubeconfig=str(write_kubeconfig(kubernetes.server, folder / "push-2.kubeconfig")),
        discovery_address=f"127.0.0.1:{apps.discovery.feed}",
        ca_address=f"127.0.0.1:{apps.ca.bound.token}",
        ca_mtls_address=f"127.0.0.1:{apps.ca.bound.mtls}",
        ca_root_file=folder / "roots.pem",
        token_file=token,
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kept", [True, False])
async def test_a_restart_in_an_outage_serves_proxies_with_the_certificate_that_it_had(
    kubernetes: Machine, tmp_path: Path, kept: bool
) -> None:
    """Without a folder that outlives the process there is none to be had: the control."""
    async with (
        kube.client_of(kubernetes.server, tmp_path) as client,
        kube_apps(tmp_path, kubernetes.server, client) as apps,
    ):
        await kube.namespace(client, "shop")
        await apply(client, SERVICE)
        web = await apps.ca.enrol("shop", "web", "web-1")
        own = {"certificate_dir": tmp_path / "of-the-pod"} if kept else {}
        settings = structs.replace(await _settings(apps, kubernetes, tmp_path), **own)
        async with push_app.running(settings) as bound:
            await _hears_of_the_service(bound.mtls, web)
        # A token that the CA has not seen, so that it cannot remember whose it is.
        settings = structs.replace(await _settings(apps, kubernetes, tmp_path), **own)
        await asyncio.to_thread(kubernetes.stop_apiserver)
        again = push_app.running(settings)
        if not kept:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(8), again:
                    pytest.fail("it has a certificate that nobody can have given it")
            return
        async with again as bound:
            await _hears_of_the_service(bound.mtls, web)


async def _hears_of_the_service(port: int, material: tls.Material) -> None:
    """Connect as a proxy whose certificate is good, until one was told of the service."""
    credentials = tls.Keychain(material).channel_credentials()
    address = f"127.0.0.1:{port}"
    async with (
        asyncio.timeout(60),
        channel.connect(address, credentials=credentials, server_name=ISTIOD) as over,
    ):
        while not await _is_told(over):  # noqa: ASYNC110  # a server is asked
            await asyncio.sleep(0.1)  # it has no mesh yet: agents come again, too


async def _is_told(over: grpc.aio.Channel) -> bool:
    client = DeltaClient(base_pb2.Node(id="sidecar~10.9.0.1~web-1.shop~shop.svc.cluster.local"))
    proxy = ConnectedProxy(client, over, metadata=[])
    try:
        await proxy.send(client.subscribe(CLUSTER))
        await proxy.until(lambda now: WEB in now.versions.get(CLUSTER, {}))
    except EndedError:
        return False
    finally:
        proxy.call.cancel()
    return True
