"""What becomes of a patch is read where people look for it: in the status of its EnvoyFilter."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse

from libs.api import reasons
from libs.kube.client import Client
from libs.runtime.tasks import background
from libs.xds.types import CLUSTER
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_apps import KubeApps, kube_apps
from tests.support.kube_discovery import apply, define, put
from tests.support.push_plane import ConnectedProxy
from tests.support.xds_client import DeltaClient, Verdict

FILTERS = "/apis/networking.istio.io/v1alpha3/namespaces/shop/envoyfilters"
CLUSTER_NAME = "outbound|80||web.shop.svc.cluster.local"
REFUSED = f"Error adding/updating cluster(s) {CLUSTER_NAME}: no"
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.77, ports: [{name: http, port: 80}]}
"""
Condition = dict[str, Any]


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="apps")
async def control_plane(server: ApiServer, tmp_path: Path) -> AsyncIterator[KubeApps]:
    async with kube.client_of(server, tmp_path) as client:
        await define(client, "envoyfilters")
        await kube.namespace(client, "shop")
        await apply(client, SERVICE)
        async with kube_apps(tmp_path, server, client) as apps:
            yield apps


async def patch(client: Client, cluster: str) -> None:
    """Apply an EnvoyFilter that is for a cluster."""
    one = {
        "applyTo": "CLUSTER",
        "match": {"cluster": {"name": cluster}},
        "patch": {"operation": "MERGE", "value": {"connect_timeout": "1s"}},
    }
    body = {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": "p"},
        "spec": {"configPatches": [one]},
    }
    await put(client, FILTERS, body)


def refuse(response: DeltaDiscoveryResponse) -> str | None:
    """Say no to what is patched."""
    for one in response.resources:
        if one.name == CLUSTER_NAME:
            found = cluster_pb2.Cluster.FromString(one.resource.value)
            return REFUSED if found.connect_timeout.seconds == 1 else None
    return None


@asynccontextmanager
async def proxy(apps: KubeApps, verdict: Verdict) -> AsyncIterator[None]:
    """Connect a proxy that answers all that comes."""
    token = await kube.pod_token(apps.client, "shop", "web-1", by="web")
    node = base_pb2.Node(id="sidecar~10.9.0.1~web-1.shop~shop.svc.cluster.local")
    client = DeltaClient(node)
    async with apps.agent() as over:
        connected = ConnectedProxy(client, over, metadata=[("authorization", f"Bearer {token}")])
        await connected.send(client.subscribe(CLUSTER))
        async with background(connected.until(lambda _: False, verdict)):
            yield
        connected.call.cancel()


async def accepted(client: Client, holds: Callable[[Condition], bool]) -> Condition:
    """Return the condition Accepted once it is as it should be."""
    found: Condition = {}
    try:
        async with asyncio.timeout(60):
            while not (found and holds(found)):
                await asyncio.sleep(0.05)  # an API server is asked: nothing would tell
                status = (await client.get(f"{FILTERS}/p")).get("status") or {}
                found = {it["type"]: it for it in status.get("conditions", ())}.get("Accepted", {})
    except TimeoutError as error:
        raise AssertionError(found) from error
    return found


async def test_what_a_patch_does_is_in_the_status_of_its_filter(apps: KubeApps) -> None:
    client = apps.client
    await patch(client, "nobody")
    async with proxy(apps, refuse):
        found = await accepted(client, lambda it: "spec.configPatches[0]" in it["message"])
        assert found["status"] == "True"
        assert "spec.configPatches[0]: the patch matches nothing" in found["message"]

        await patch(client, CLUSTER_NAME)
        found = await accepted(client, lambda it: it["status"] == "False")
        assert found["reason"] == reasons.PATCH_REFUSED
        assert REFUSED in found["message"]
        assert found["observedGeneration"] == 2

        await patch(client, "nobody")
        found = await accepted(client, lambda it: it["status"] == "True")
        assert found["observedGeneration"] == 3
