"""Accounts, pods and tokens in a real API server, and a client of it."""

import asyncio
from pathlib import Path
from typing import Any

from libs.kube import access
from libs.kube.client import Client
from libs.kube.errors import BusyError, ConflictError, NotFoundError
from tests.support.kube_apiserver import ApiServer
from tests.support.kubeconfig import write_kubeconfig

AUDIENCE = "istio-ca"


def client_of(server: ApiServer, folder: Path, *, token: str = "") -> Client:
    """Return a client of the administrator, or of whoever has `token`; to be entered."""
    path = folder / f"kubeconfig-{len(list(folder.glob('kubeconfig-*')))}"
    return Client(access.load(str(write_kubeconfig(server, path, token=token))))


async def ensure(client: Client, path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401  # JSON
    """Create an object unless it is there."""
    try:
        return await client.request("POST", path, body=body)
    except ConflictError:
        return await client.get(f"{path}/{body['metadata']['name']}")


async def define(client: Client, definition: Any) -> None:  # noqa: ANN401  # YAML
    """Create a CRD, and return once its kind is served in every version."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await ensure(client, path, definition)
    spec = definition["spec"]
    for version in spec["versions"]:
        served = f"/apis/{spec['group']}/{version['name']}/{spec['names']['plural']}"
        async with asyncio.timeout(60):
            while not await _is_there(client, served):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)


async def _is_there(client: Client, path: str) -> bool:
    try:
        await client.get(path)
    except (BusyError, NotFoundError):  # a storage that is made anew says that it is busy
        return False
    return True


async def namespace(client: Client, name: str) -> None:
    await ensure(client, "/api/v1/namespaces", {"metadata": {"name": name}})


async def account(client: Client, space: str, name: str) -> None:
    await namespace(client, space)
    path = f"/api/v1/namespaces/{space}/serviceaccounts"
    await ensure(client, path, {"metadata": {"name": name}})


async def node(client: Client, name: str) -> None:
    await ensure(client, "/api/v1/nodes", {"metadata": {"name": name}})


async def pod(client: Client, space: str, name: str, *, by: str, on: str = "node-1") -> Any:  # noqa: ANN401
    """Create a pod of account `by` on node `on`, and both of them; return the pod."""
    await account(client, space, by)
    await node(client, on)
    spec = {
        "serviceAccountName": by,
        "nodeName": on,
        "containers": [{"name": "app", "image": "app"}],
    }
    body = {"metadata": {"name": name}, "spec": spec}
    return await ensure(client, f"/api/v1/namespaces/{space}/pods", body)


async def token(
    client: Client,
    space: str,
    name: str,
    *,
    bound: Any = None,  # noqa: ANN401
    audiences: tuple[str, ...] = (AUDIENCE,),
) -> str:
    """Return a token of an account from TokenRequest, bound to a pod if one is given."""
    spec: dict[str, Any] = {"audiences": list(audiences), "expirationSeconds": 600}
    if bound is not None:
        meta = bound["metadata"]
        spec["boundObjectRef"] = {
            "kind": "Pod",
            "apiVersion": "v1",
            "name": meta["name"],
            "uid": meta["uid"],
        }
    path = f"/api/v1/namespaces/{space}/serviceaccounts/{name}/token"
    answer = await client.request("POST", path, body={"spec": spec})
    return str(answer["status"]["token"])


async def pod_token(client: Client, space: str, name: str, *, by: str, on: str = "node-1") -> str:
    """Return the token that a pod of account `by` would be given."""
    made = await pod(client, space, name, by=by, on=on)
    return await token(client, space, by, bound=made)


async def delete_pod(client: Client, space: str, name: str) -> None:
    """Delete a pod now: no kubelet is there to confirm it."""
    path = f"/api/v1/namespaces/{space}/pods/{name}"
    await client.request("DELETE", path, params={"gracePeriodSeconds": 0})
