"""Pods about which a real API server asks nobody: what made them is told, once, by whomever."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from libs.inject import webhooks
from libs.inject.webhooks import Target
from libs.kube.client import Client
from services.webhook import app
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_ca import SYSTEM, until
from tests.support.kube_webhook import CONFIGURATIONS, RunningWebhook, running_webhook
from tests.support.pods import pod

REV, INJECT = "istio.io/rev", "sidecar.istio.io/inject"
PODS = "/api/v1/namespaces/{}/pods"


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="client")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        yield client


@pytest.fixture(name="webhook")
async def webhook_of_it(
    server: ApiServer, client: Client, tmp_path: Path
) -> AsyncIterator[RunningWebhook]:
    async with running_webhook(server, tmp_path, client) as webhook:
        yield webhook


class Deployment:
    """A Deployment with the ReplicaSet that a controller would make of it."""

    def __init__(self, client: Client, space: str, name: str) -> None:
        self.uid = ""
        self._client = client
        self._space = space
        self._name = name
        self._made: dict[str, str] = {}

    async def create(self) -> None:
        labels = {"app": self._name}
        spec = {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod()["spec"]},
        }
        made = await self._post("deployments", {"metadata": {"name": self._name}, "spec": spec})
        self.uid = made["metadata"]["uid"]
        owner = _owned("Deployment", self._name, self.uid)
        metadata = {"name": f"{self._name}-5d4f8b7c9", "ownerReferences": [owner]}
        self._made = (await self._post("replicasets", {"metadata": metadata, "spec": spec}))[
            "metadata"
        ]

    async def _post(self, plural: str, body: dict[str, Any]) -> Any:  # noqa: ANN401  # JSON
        path = f"/apis/apps/v1/namespaces/{self._space}/{plural}"
        return await self._client.request("POST", path, body=body)

    async def pod(self, labels: dict[str, str]) -> dict[str, Any]:
        """Make a pod of it, as a controller does; returns it as it was stored."""
        given = pod(labels=labels)
        owner = _owned("ReplicaSet", self._made["name"], self._made["uid"])
        given["metadata"] |= {"generateName": f"{self._name}-", "ownerReferences": [owner]}
        given["spec"]["serviceAccountName"] = "default"
        made = await self._client.request("POST", PODS.format(self._space), body=given)
        return dict(made)


def _owned(kind: str, name: str, uid: str) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
    }


async def _deployment(client: Client, space: str, name: str) -> Deployment:
    await kube.namespace(client, space)
    made = Deployment(client, space, name)
    await made.create()
    return made


async def _events(client: Client, space: str) -> list[dict[str, Any]]:
    listed = await client.get(f"/api/v1/namespaces/{space}/events")
    return list(listed["items"])


async def _is_told(client: Client, space: str, name: str) -> bool:
    return any(one["involvedObject"]["name"] == name for one in await _events(client, space))


async def test_a_deployment_whose_pods_name_a_revision_that_is_not_there_is_told(
    webhook: RunningWebhook,
) -> None:
    client = webhook.client
    other = webhooks.configuration(Target(revision="theirs", service="another"))
    for hook in other["webhooks"]:
        hook["failurePolicy"] = "Ignore"
    await kube.ensure(client, CONFIGURATIONS, other)
    try:
        served = await _deployment(client, "asked", "served")
        outside = await _deployment(client, "asked", "outside")
        slip = await _deployment(client, "asked", "slip")
        await served.pod({REV: "theirs"})
        await outside.pod({})
        for _ in range(3):
            made = await slip.pod({REV: "canry"})
            assert len(made["spec"]["containers"]) == 1
        await until(lambda: _is_told(client, "asked", "slip"))
        (event,) = await _events(client, "asked")  # of those before it nothing is to be told
    finally:
        await client.request("DELETE", f"{CONFIGURATIONS}/{other['metadata']['name']}")
    assert event["involvedObject"]["kind"] == "Deployment"
    assert event["involvedObject"]["uid"] == slip.uid  # or `kubectl describe` does not show it
    assert (event["reason"], event["type"]) == ("NotInjected", "Warning")
    assert "istio.io/rev=canry is heard by nobody" in event["message"]


async def test_an_opt_out_is_told_once_and_is_no_warning(webhook: RunningWebhook) -> None:
    await webhook.label("chosen", {"istio-injection": "enabled"})
    away = await _deployment(webhook.client, "chosen", "away")
    for _ in range(3):
        await away.pod({INJECT: "false"})
    await until(lambda: _is_told(webhook.client, "chosen", "away"))
    (event,) = await _events(webhook.client, "chosen")
    assert (event["reason"], event["type"]) == ("NotInjected", "Normal")
    assert event["involvedObject"]["uid"] == away.uid
    assert "sidecar.istio.io/inject=false keeps the pod out" in event["message"]


async def test_an_opt_out_from_nothing_is_not_told(webhook: RunningWebhook) -> None:
    await webhook.label("plain", {"istio-injection": None})
    await (await _deployment(webhook.client, "plain", "away")).pod({INJECT: "false"})
    await (await _deployment(webhook.client, "plain", "odd")).pod({INJECT: "yes"})
    await until(lambda: _is_told(webhook.client, "plain", "odd"))
    (event,) = await _events(webhook.client, "plain")
    assert "neither 'true' nor 'false'" in event["message"]


async def test_pods_that_were_made_while_nobody_answered_are_found_and_two_tell_once(
    server: ApiServer, client: Client, tmp_path: Path
) -> None:
    early = await _deployment(client, "early", "web")
    await early.pod({REV: "canry"})
    known = _written("known")
    async with running_webhook(server, tmp_path, client) as webhook, app.running(webhook.settings):

        async def both_told() -> bool:
            return _written("known") > known and await _is_told(client, "early", "web")

        await until(both_told)
    assert len(await _events(client, "early")) == 1


def _written(result: str) -> float:
    return REGISTRY.get_sample_value("seine_webhook_events_total", {"result": result}) or 0.0


async def test_a_gateway_at_home_may_name_its_revision(webhook: RunningWebhook) -> None:
    """And what only names it, as parts of a control plane do, is left alone."""
    for labels, injected in (({REV: "default"}, False), ({REV: "default", INJECT: "true"}, True)):
        made = await webhook.create(SYSTEM, pod(labels=labels), dry_run=True)
        assert ("istio-proxy" in str(made["spec"])) is injected
