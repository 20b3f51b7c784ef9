"""Machines outside the cluster, as an API server and a control plane see them.

What connects speaks xDS as an agent does, with tokens of TokenRequest.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc.aio
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.rpc import status_pb2

from libs.kube.client import Client
from libs.kube.errors import NotFoundError
from libs.xds.types import CLUSTER
from services.config_push.machines import HEALTH
from tests.support import kube_accounts as kube
from tests.support.kube_apps import KubeApps
from tests.support.kube_discovery import define
from tests.support.push_plane import ConnectedProxy
from tests.support.xds_client import DeltaClient

ENTRIES = "/apis/networking.istio.io/v1/namespaces/shop/workloadentries"
GROUPS = "/apis/networking.istio.io/v1/namespaces/{}/workloadgroups"
ADDRESS = "10.9.0.1"
NAME = f"vm-{ADDRESS}"
CONNECTED_AT, DISCONNECTED_AT = "istio.io/connectedAt", "istio.io/disconnectedAt"
SPACES, ACCOUNTS = ("shop", "other"), ("vm", "thief")


async def prepare(client: Client) -> None:
    """Make what machines need to register."""
    await define(client)
    for namespace in SPACES:
        for account in (*ACCOUNTS, "default"):
            await kube.account(client, namespace, account)
    await kube.ensure(client, GROUPS.format("shop"), group())


def group(name: str = "vm", **spec: object) -> dict[str, Any]:
    template = {
        "serviceAccount": "vm",
        "labels": {"app": "db", "tier": "old"},
        "ports": {"tcp": 5432},
        "network": "net",
        "locality": "eu/a",
        "weight": 3,
    }
    metadata = {"labels": {"tier": "back"}, "annotations": {"note": "mine"}}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadGroup",
        "metadata": {"name": name},
        "spec": {"template": template, "metadata": metadata, **spec},
    }


def node(namespace: str = "shop", **said: str) -> base_pb2.Node:
    made = base_pb2.Node(id=f"sidecar~{ADDRESS}~host.{namespace}~{namespace}.svc.cluster.local")
    for key, value in {"AUTO_REGISTER_GROUP": "vm", "LABELS": "", **said}.items():
        if value:
            made.metadata.fields[key].string_value = value
    return made


def probing(made: base_pb2.Node) -> base_pb2.Node:
    made.metadata.fields["PROXY_CONFIG"].struct_value.update(
        {"readinessProbe": {"periodSeconds": 1}}
    )
    return made


class Machine:
    """A machine whose proxy has connected."""

    def __init__(self, proxy: ConnectedProxy) -> None:
        self.proxy = proxy

    async def says(self, wrong: str | None) -> None:
        """Tell of its workload, among Envoy's own requests."""
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=HEALTH)
        if wrong is not None:
            request.error_detail.CopyFrom(status_pb2.Status(code=13, message=wrong))
        await self.proxy.send(request)

    async def refusal(self) -> tuple[grpc.StatusCode, str]:
        """Return why its stream ended."""
        with suppress(grpc.aio.AioRpcError):
            async with asyncio.timeout(20):
                while await self.proxy.call.read():
                    pass
        return await self.proxy.call.code(), str(await self.proxy.call.details())


async def token_of(client: Client, namespace: str = "shop", account: str = "vm") -> str:
    return await kube.token(client, namespace, account)


@asynccontextmanager
async def machine(
    apps: KubeApps, token: str, claimed: base_pb2.Node | None = None, *, first: str = CLUSTER
) -> AsyncIterator[Machine]:
    client = DeltaClient(claimed or node())
    async with apps.agent() as over:
        proxy = ConnectedProxy(client, over, metadata=[("authorization", f"Bearer {token}")])
        await proxy.send(client.subscribe(first))
        try:
            yield Machine(proxy)
        finally:
            proxy.call.cancel()


async def entries(client: Client) -> list[Any]:
    return list((await client.get(ENTRIES))["items"])


async def entry(client: Client, name: str = NAME) -> Any:  # noqa: ANN401  # JSON
    try:
        return await client.get(f"{ENTRIES}/{name}")
    except NotFoundError:
        return None


async def until(holds: Callable[[], Awaitable[object]], seconds: float = 30) -> Any:  # noqa: ANN401
    async with asyncio.timeout(seconds):
        while not (found := await holds()):  # noqa: ASYNC110  # an API server is asked
            await asyncio.sleep(0.05)
        return found


def annotations(found: Any) -> dict[str, str]:  # noqa: ANN401  # JSON
    return dict(found["metadata"].get("annotations") or {})


async def annotated(client: Client, key: str) -> Any:  # noqa: ANN401  # JSON
    found = await entry(client)
    return found if found and key in annotations(found) else None


async def nobody(client: Client) -> bool:
    return not await entries(client)
