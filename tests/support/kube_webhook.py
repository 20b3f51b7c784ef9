"""The real webhook behind a real API server, with a certificate from the real CA.

API servers find a webhook by its Service. Here that is an ExternalName to this machine, so that the
name in the certificate is checked as in a cluster.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from libs.inject import webhooks
from libs.inject.webhooks import Target
from libs.kube.client import Client
from libs.kube.errors import KubeError, NotFoundError
from services.webhook import app
from services.webhook.settings import Settings
from services.webhook.validation import configuration
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer
from tests.support.kube_ca import SYSTEM, cluster_ca
from tests.support.kubeconfig import write_kubeconfig

ACCOUNT = "seine-webhook"
CONFIGURATIONS = f"/apis/{webhooks.API_VERSION}/mutatingwebhookconfigurations"
SECONDS = 30.0


class RunningWebhook:
    """A webhook, and what a user does in its cluster."""

    def __init__(
        self, client: Client, bound: app.Bound, target: Target, *, settings: Settings
    ) -> None:
        self.client = client
        self.bound = bound
        self.target = target
        self.settings = settings

    async def label(self, namespace: str, labels: dict[str, str | None]) -> None:
        """Make a namespace, or label it anew."""
        await kube.namespace(self.client, namespace)
        await self.client.request(
            "PATCH",
            f"/api/v1/namespaces/{namespace}",
            body={"metadata": {"labels": labels}},
            content_type="application/merge-patch+json",
        )

    async def create(self, namespace: str, pod: dict[str, Any], *, dry_run: bool = False) -> Any:  # noqa: ANN401
        """Create a pod; returns it as the API server stored it, or would have.

        Other API servers put an account in before a webhook is asked; this one does not.
        """
        pod = {**pod, "spec": {"serviceAccountName": "default", **pod["spec"]}}
        params = {"dryRun": "All"} if dry_run else {}
        path = f"/api/v1/namespaces/{namespace}/pods"
        return await self.client.request("POST", path, params=params, body=pod)

    async def bundle(self) -> str:
        """Return the caBundle of the first webhook."""
        path = f"{CONFIGURATIONS}/{webhooks.configuration(self.target)['metadata']['name']}"
        found = await self.client.get(path)
        return str(found["webhooks"][0]["clientConfig"].get("caBundle", ""))

    async def lead_elsewhere(self, bundle: str) -> None:
        """Have the configuration lead to the same port by a URL, with a bundle of the test's."""
        body = webhooks.configuration(self.target)
        url = f"https://localhost:{self.target.port}/inject"
        for webhook in body["webhooks"]:
            webhook["clientConfig"] = {"url": url, "caBundle": bundle}
        path = f"{CONFIGURATIONS}/{body['metadata']['name']}"
        kept = await self.client.get(path)
        body["metadata"]["resourceVersion"] = kept["metadata"]["resourceVersion"]
        await self.client.request("PUT", path, body=body)

    async def works(self) -> None:
        """Return once an admission goes all the way."""
        await self.label("warm", {"istio-injection": "enabled"})
        pod = {"metadata": {"name": "w"}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    made = await self.create("warm", pod, dry_run=True)
                except KubeError:
                    await asyncio.sleep(0.05)  # nothing tells when an API server has seen a change
                    continue
                if "sidecar.istio.io/status" in made["metadata"].get("annotations", {}):
                    return
                await asyncio.sleep(0.05)


@asynccontextmanager
async def running_webhook(
    server: ApiServer,
    folder: Path,
    client: Client,
    *,
    ca_changes: dict[str, Any] | None = None,
    **changes: Any,  # noqa: ANN401
) -> AsyncIterator[RunningWebhook]:
    """Run the CA and the webhook while the block runs; admissions work when it begins."""
    kubeconfig = str(write_kubeconfig(server, folder / "webhook-kubeconfig"))
    async with cluster_ca(folder, client, kubeconfig, **(ca_changes or {})) as ca:
        (folder / "roots.pem").write_bytes(ca.roots)
        token = await kube.pod_token(client, SYSTEM, "seine-webhook-1", by=ACCOUNT)
        (folder / "token").write_text(token)
        own: dict[str, Any] = {
            "port": 0,
            "monitoring_port": 0,
            "kubeconfig": kubeconfig,
            "ca_address": f"127.0.0.1:{ca.bound.token}",
            "ca_root_file": folder / "roots.pem",
            "token_file": folder / "token",
            "resolv_conf": folder / "resolv.conf",
        }
        settings = Settings(**(own | changes))
        async with app.running(settings) as bound:
            target = Target(service=ACCOUNT, port=bound.https)
            async with serving_at(client, target):
                running = RunningWebhook(client, bound, target, settings=settings)
                await running.works()
                yield running


@asynccontextmanager
async def serving_at(client: Client, target: Target) -> AsyncIterator[None]:
    """Have the API server ask at a place while the block runs."""
    await _serve_at(client, target)
    try:
        yield
    finally:
        await _remove(client, target)


async def _serve_at(client: Client, target: Target) -> None:
    spec = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": target.port}]}
    path = f"/api/v1/namespaces/{SYSTEM}/services"
    await _remove(client, target)
    body = {"metadata": {"name": target.service}, "spec": spec}
    await client.request("POST", path, body=body)
    await client.request("POST", CONFIGURATIONS, body=webhooks.configuration(target))
    for one in _validating(target):
        await client.request("POST", configuration.PATH, body=one)


def _validating(target: Target) -> list[dict[str, Any]]:
    of_mesh = configuration.Target(service=target.service, port=target.port)
    return configuration.configurations(of_mesh)


async def _remove(client: Client, target: Target) -> None:
    name = webhooks.configuration(target)["metadata"]["name"]
    service = f"/api/v1/namespaces/{SYSTEM}/services/{target.service}"
    validating = (f"{configuration.PATH}/{it['metadata']['name']}" for it in _validating(target))
    for path in (f"{CONFIGURATIONS}/{name}", *validating, service):
        try:
            await client.request("DELETE", path)
        except NotFoundError:
            continue
