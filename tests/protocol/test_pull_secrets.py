"""Who one is to registries of images, on its way to an agent: discovery, config-push, ADS.

Whoever has an extension that names a Secret gets it, whatever else it is; nobody else gets it,
whatever it asks for. Real gRPC, and at last the services themselves with the agent's own client.
"""

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret as EnvoySecret

from libs.api.resource import Metadata
from libs.api.secret import Secret
from libs.model.extensions import Extension, Module
from libs.model.mesh import Mesh
from libs.xds.types import EXTENSION, LISTENER, SECRET, field
from services.agent.modules import pull_secret as pull_secrets
from services.agent.modules.errors import ModuleError
from services.agent.modules.pull_secret import PullSecrets
from services.agent.streams.client import Target
from services.config_push import config_dump
from tests.support import control_plane_apps, mesh
from tests.support.control_plane_apps import Apps, running_apps
from tests.support.credential_desk import Running, answer, running_desk, secrets
from tests.support.patches import patch_set
from tests.support.push_plane import ConnectedProxy, identity
from tests.support.xds_client import DeltaClient

CONFIG = b'{"auths": {"r.example.com": {"auth": "c2VjcmV0OndvcmQ="}}}'
MINE = "image-pull://shop/mine"
ROOTS = "image-pull://istio-system/everybody"


def pull_secret(
    namespace: str, name: str, *, kind: str = "kubernetes.io/dockerconfigjson"
) -> Secret:
    data = {".dockerconfigjson": b64encode(CONFIG).decode(), "tls.crt": "eA==", "tls.key": "eQ=="}
    return Secret(metadata=Metadata(name=name, namespace=namespace), type=kind, data=data)


def module(namespace: str, secret: str, **more: object) -> Extension:
    found = Module(url="oci://r.example.com/m:v1", pull_secret=secret)
    return mesh.extension("m", namespace, module=found, **more)


@pytest_asyncio.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async def nobody(namespace: str, account: str) -> bool:
        del namespace, account
        return False  # nobody may list Secrets, as it is with sidecars

    async with running_desk(tmp_path, nobody) as found:
        found.book.publish(
            secrets(
                pull_secret("shop", "mine"),
                pull_secret("shop", "other"),
                pull_secret("other", "mine"),
                pull_secret("istio-system", "everybody"),
                pull_secret("shop", "opaque", kind="Opaque"),
            )
        )
        yield found


@asynccontextmanager
async def agent(
    running: Running, *names: str, namespace: str = "shop"
) -> AsyncIterator[ConnectedProxy]:
    """Connect an agent's own stream, on which it asks for nothing else."""
    node = f"sidecar~10.244.0.9~client.{namespace}~{namespace}.svc.cluster.local"
    client = DeltaClient(base_pb2.Node(id=node))
    client.keep_bodies = True
    async with running.plane.stream(client, identity(namespace, "default")) as proxy:
        await proxy.send(client.subscribe(SECRET, names))
        yield proxy


def held(proxy: ConnectedProxy, name: str) -> bytes:
    body = proxy.client.bodies[SECRET][name]
    return EnvoySecret.FromString(body).generic_secret.secret.inline_bytes


async def test_who_has_an_extension_gets_what_it_names(running: Running) -> None:
    running.plane.change(mesh.mesh(module("shop", "shop/mine")))
    async with agent(running, MINE) as proxy:
        await answer(proxy)
        assert held(proxy, MINE) == CONFIG
        running.book.publish(secrets())
        assert list((await answer(proxy)).removed_resources) == [MINE]


async def test_an_extension_of_the_root_namespace_brings_its_own(running: Running) -> None:
    running.plane.change(mesh.mesh(module("istio-system", "istio-system/everybody")))
    async with agent(running, ROOTS, namespace="other") as proxy:
        await answer(proxy)
        assert held(proxy, ROOTS) == CONFIG


def _named_by_a_variable() -> Mesh:
    url = "https://example.com/m"
    found = Module(url=url, environment={"A": "image-pull://other/mine", "B": MINE})
    return mesh.mesh(mesh.extension("m", "shop", module=found))


def _for_another_workload() -> Mesh:
    return mesh.mesh(module("shop", "shop/mine", selector={"app": "another"}))


@pytest.mark.parametrize(
    ("world", "namespace", "name"),
    [
        (mesh.mesh(), "shop", MINE),
        (mesh.mesh(module("shop", "shop/mine")), "shop", "image-pull://shop/other"),
        (mesh.mesh(module("shop", "shop/mine")), "shop", "image-pull://other/mine"),
        (mesh.mesh(module("shop", "shop/mine")), "other", MINE),
        (mesh.mesh(module("shop", "shop/mine")), "shop", "kubernetes://shop/mine"),
        (mesh.mesh(module("shop", "shop/mine")), "shop", "image-pull://shop/../shop/mine"),
        (mesh.mesh(module("shop", "other/mine")), "shop", "image-pull://other/mine"),
        (mesh.mesh(module("shop", "shop/opaque")), "shop", "image-pull://shop/opaque"),
        (_named_by_a_variable(), "shop", "image-pull://other/mine"),
        (_for_another_workload(), "shop", MINE),
    ],
)
async def test_nobody_else_gets_it(
    running: Running, world: Mesh, namespace: str, name: str
) -> None:
    running.plane.change(world)
    async with agent(running, name, namespace=namespace) as proxy:
        assert list((await answer(proxy)).removed_resources) == [name]
        assert not proxy.client.bodies.get(SECRET)


PATCH = """
- applyTo: EXTENSION_CONFIG
  patch:
    operation: ADD
    value:
      name: added
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
        config: {vm_config: {environment_variables: {key_values: {a: "%s"}}}}
"""


async def test_a_patch_that_names_a_secret_of_others_brings_nothing(running: Running) -> None:
    running.plane.change(mesh.mesh(patch_set(PATCH % ROOTS)))
    async with agent(running, ROOTS) as proxy:
        assert list((await answer(proxy)).removed_resources) == [ROOTS]
        (connection,) = running.plane.plane.connections
        added = connection.before[EXTENSION].resources["added"]
        assert field(2, ROOTS) in added.body  # it does name it


async def test_it_is_in_nothing_that_is_shared(running: Running) -> None:
    running.plane.change(mesh.mesh(module("shop", "shop/mine")))
    async with agent(running, MINE) as proxy:
        await answer(proxy)
        (connection,) = running.plane.plane.connections
        assert connection.of_agent
        pages = config_dump.render(connection.before)
        assert MINE.encode() in pages
        assert CONFIG not in pages
        assert b64encode(CONFIG) not in pages
        assert b"c2VjcmV0OndvcmQ=" not in pages
        assert LISTENER in connection.before


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


def asking(apps: Apps, namespace: str) -> PullSecrets:
    """Return the agent's client of a pod."""
    node = {
        "id": f"sidecar~10.244.0.9~client.{namespace}~{namespace}.svc.cluster.local",
        "cluster": f"client.{namespace}",
        "metadata": {"NAMESPACE": namespace, "CLUSTER_ID": "Kubernetes"},
    }
    address = f"127.0.0.1:{apps.push.xds}"
    target = Target(address, control_plane_apps.NAME, str(apps.folder / "root.pem"))
    token = apps.token("client", namespace)
    return PullSecrets(target, lambda: token, node=node, cluster_id="Kubernetes")


async def test_the_agents_client_gets_it_from_the_services_and_nobody_elses_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_apps(tmp_path) as apps:
        (apps.config / "all.yaml").write_text(MANIFESTS % json.dumps(CONFIG.decode()))
        async with apps.discovery(), apps.config_push():
            await apps.synced()
            assert await asking(apps, "shop").get(MINE) == CONFIG
            monkeypatch.setattr(pull_secrets, "SECONDS_AFTER_NO", 0.2)
            for namespace, name in (("other", MINE), ("shop", "image-pull://shop/another")):
                with pytest.raises(ModuleError, match="no image pull Secret shop/"):
                    await asking(apps, namespace).get(name)
        monkeypatch.setattr(pull_secrets, "SECONDS", 1.0)
        with pytest.raises(ModuleError, match=r"cannot be asked for|no image pull Secret"):
            await asking(apps, "shop").get(MINE)
