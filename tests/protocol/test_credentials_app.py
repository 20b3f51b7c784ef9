"""A Secret in a folder becomes a gateway's certificate, and is nobody else's: the real services."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import grpc
import pytest
from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from libs.protos.credentials.v1 import credentials_pb2_grpc
from libs.protos.credentials.v1.credentials_pb2 import SecretName, Wanted
from libs.xds.types import LISTENER, SECRET
from tests.support.control_plane_apps import Apps, running_apps
from tests.support.push_plane import ConnectedProxy

NAME = "kubernetes://web"
GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: edge}
spec:
  servers:
    - port: {number: 8443, name: https, protocol: HTTPS}
      hosts: ["*"]
      tls: {mode: SIMPLE, credentialName: web}
"""
MANIFEST = """
apiVersion: v1
kind: Secret
metadata: {{name: web, namespace: shop}}
type: kubernetes.io/tls
data: {{tls.crt: {certificate}, tls.key: {key}}}
"""


def _save(apps: Apps, key: bytes) -> None:
    text = MANIFEST.format(
        certificate=b64encode(b"CERTIFICATE").decode(), key=b64encode(key).decode()
    )
    (apps.config / "secret.yaml").write_text(text)


@pytest.fixture
async def apps(tmp_path: Path) -> AsyncIterator[Apps]:
    async with running_apps(tmp_path) as started:
        (started.config / "gateway.yaml").write_text(GATEWAY)
        _save(started, b"FIRST KEY")
        async with started.discovery(), started.config_push():
            await _ready(started)
            yield started


async def _ready(apps: Apps) -> None:
    url = f"http://127.0.0.1:{apps.push.monitoring}/ready"
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            async with session.get(url) as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.02)


async def _ask(proxy: ConnectedProxy) -> None:
    client = proxy.client
    client.keep_bodies = True
    client.node = base_pb2.Node(id="router~10.244.0.9~client.shop~shop.svc.cluster.local")
    await proxy.send(client.subscribe(LISTENER))
    await proxy.until(lambda now: "0.0.0.0_8443" in now.versions.get(LISTENER, {}))
    await proxy.send(client.subscribe(SECRET, [NAME]))


def _key(proxy: ConnectedProxy) -> bytes:
    body = proxy.client.bodies.get(SECRET, {}).get(NAME, b"")
    return Secret.FromString(body).tls_certificate.private_key.inline_bytes


async def test_a_secret_in_a_folder_reaches_the_gateway_and_no_page(apps: Apps) -> None:
    async with apps.proxy([f"Bearer {apps.token('gw')}"]) as proxy:
        await _ask(proxy)
        await proxy.until(lambda _: _key(proxy) == b"FIRST KEY")
        _save(apps, b"SECOND KEY")
        await proxy.until(lambda _: _key(proxy) == b"SECOND KEY")
        pages = await _pages(apps)
    assert "kubernetes://web" in pages
    for key in (b"FIRST KEY", b"SECOND KEY"):
        assert key.decode() not in pages
        assert b64encode(key).decode() not in pages


async def _pages(apps: Apps) -> str:
    found = ""
    async with aiohttp.ClientSession() as session:
        for path in (
            *("connections", "syncz", "push_status", "receipts"),
            "config_dump?proxyID=client.shop",
        ):
            url = f"http://127.0.0.1:{apps.push.monitoring}/debug/{path}"
            async with session.get(url) as answer:
                assert answer.status == 200, path
                found += await answer.text()
    return found


@pytest.mark.parametrize(
    ("account", "namespace", "code"),
    [
        ("seine-config-push", "istio-system", grpc.StatusCode.OK),
        ("seine-ctl", "istio-system", grpc.StatusCode.PERMISSION_DENIED),
        ("seine-console", "istio-system", grpc.StatusCode.PERMISSION_DENIED),
        ("seine-config-push", "shop", grpc.StatusCode.PERMISSION_DENIED),
        ("gw", "shop", grpc.StatusCode.PERMISSION_DENIED),
    ],
)
async def test_discovery_answers_config_push_alone(
    apps: Apps, account: str, namespace: str, code: grpc.StatusCode
) -> None:
    async with apps.to_discovery(account, namespace) as opened:
        call = credentials_pb2_grpc.CredentialsStub(opened).Follow()
        try:
            await call.write(Wanted(names=[SecretName(namespace="shop", name="web")]))
            found = await call.read()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            assert await call.code() is code
        else:
            assert code is grpc.StatusCode.OK
            assert found.private_key == b"FIRST KEY"
        finally:
            call.cancel()
