"""Streams of a machine whose token has expired: its certificate opens them, on the other port."""

import json
from pathlib import Path

import pytest

from libs.model.ids import SpiffeId
from libs.pki import csr, tokens
from libs.rpc import ca_client
from libs.runtime.clock import SystemClock
from services.agent import files
from services.agent.modules import pull_secret as pull_secrets
from services.agent.modules.errors import ModuleError
from services.agent.modules.pull_secret import PullSecrets
from services.agent.provisioned import Provisioned
from services.agent.streams.client import Target
from tests.support import control_plane_apps
from tests.support.control_plane_apps import Apps, running_apps

NAMED = "image-pull://shop/mine"  # what is asked for: any answer would do
CONFIG = b'{"auths": {"r.example.com": {"auth": "c2VjcmV0OndvcmQ="}}}'
MANIFESTS = """
apiVersion: v1
kind: Secret
metadata: {name: mine, namespace: shop}
type: kubernetes.io/dockerconfigjson
stringData: {.dockerconfigjson: %s}
---
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: m, namespace: shop}
spec: {url: "oci://r.example.com/m:v1", imagePullSecret: mine}
"""


class Machine:
    """An agent outside the cluster that says it is of namespace `shop`."""

    def __init__(self, apps: Apps) -> None:
        self._apps = apps
        self._certs = apps.folder / "certs"
        self._token_file = apps.folder / "istio-token"
        self._token_file.write_text(
            tokens.mint(
                SpiffeId("cluster.local", "shop", "client"),
                pod=tokens.Bound("pod", "uid"),
                key=apps.issuer,
                now=SystemClock().now() - 7200,
            )
        )

    async def enrol(self, namespace: str) -> None:
        """Keep a certificate that the CA gave for a token of that namespace."""
        token = self._apps.token_file("client", namespace)
        roots = self._apps.folder / "root.pem"
        ca = ca_client.CaAddress(f"127.0.0.1:{self._apps.ca.token}", roots, token)
        key, request = csr.make_with_key()
        *chain, root = await ca_client.sign(ca, request)
        files.write_all(self._certs, chain="".join(chain), key=key.decode(), roots=root)

    async def ask(self) -> bytes:
        """Ask on a stream of the agent's."""
        push, name = self._apps.push, control_plane_apps.NAME
        provisioned = Provisioned(
            address=f"127.0.0.1:{push.mtls}",
            server_name=name,
            chain=str(self._certs / "cert-chain.pem"),
            key=str(self._certs / "key.pem"),
            token_file=str(self._token_file),
        )
        roots = str(self._apps.folder / "root.pem")
        target = Target(f"127.0.0.1:{push.xds}", name, roots, provisioned)
        node = {
            "id": "sidecar~10.9.0.1~client.shop~shop.svc.cluster.local",
            "cluster": "client.shop",
            "metadata": {"NAMESPACE": "shop", "CLUSTER_ID": "Kubernetes"},
        }
        token = self._token_file.read_text()
        return await PullSecrets(target, lambda: token, node=node, cluster_id="Kubernetes").get(
            NAMED
        )


async def test_the_certificate_opens_streams_and_only_of_whom_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_apps(tmp_path) as apps:
        (apps.config / "all.yaml").write_text(MANIFESTS % json.dumps(CONFIG.decode()))
        machine = Machine(apps)
        async with apps.discovery(), apps.config_push():
            await apps.synced()
            await machine.enrol("shop")
            assert await machine.ask() == CONFIG
            monkeypatch.setattr(pull_secrets, "SECONDS", 3.0)
            await machine.enrol("other")  # it says `shop` all the same
            with pytest.raises(ModuleError):
                await machine.ask()
            (tmp_path / "certs/key.pem").unlink()
            with pytest.raises(ModuleError):  # the token alone
                await machine.ask()
