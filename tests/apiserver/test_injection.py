"""Injection behind a real API server: who gets a proxy, who does not, and who is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from libs.inject import webhooks
from libs.inject.webhooks import Target
from libs.kube.client import Client
from libs.kube.errors import ApiError
from services.ctl.app import app
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_webhook import (
    CONFIGURATIONS,
    SECONDS,
    RunningWebhook,
    running_webhook,
)
from tests.support.kubeconfig import write_kubeconfig
from tests.support.pods import names, pod

STATUS = "sidecar.istio.io/status"
ENABLED = {"istio-injection": "enabled"}


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


def _injected(made: dict[str, Any]) -> bool:
    return "istio-proxy" in [*names(made), *names(made, "initContainers")]


@pytest.mark.parametrize(
    ("space", "namespace", "labels", "annotations", "expected"),
    [
        ("plain", {}, {}, {}, False),
        ("plain", {}, {"sidecar.istio.io/inject": "true"}, {}, True),
        ("plain", {}, {"istio.io/rev": "default"}, {}, True),
        ("plain", {}, {"istio.io/rev": "canary"}, {}, False),
        ("on", ENABLED, {}, {}, True),
        ("on", ENABLED, {"sidecar.istio.io/inject": "false"}, {}, False),
        ("on", ENABLED, {}, {"sidecar.istio.io/inject": "false"}, False),
        ("off", {"istio-injection": "disabled"}, {"sidecar.istio.io/inject": "true"}, {}, False),
        ("rev", {"istio.io/rev": "default"}, {}, {}, True),
        ("canary", {"istio.io/rev": "canary"}, {}, {}, False),
        ("kube-system", ENABLED, {"sidecar.istio.io/inject": "true"}, {}, False),
        ("istio-system", ENABLED, {}, {}, False),
    ],
)
async def test_the_matrix(
    webhook: RunningWebhook,
    space: str,
    namespace: dict[str, str | None],
    labels: dict[str, str],
    annotations: dict[str, str],
    expected: bool,
) -> None:
    blank: dict[str, str | None] = {"istio-injection": None, "istio.io/rev": None}
    await webhook.label(space, blank | namespace)
    given = pod(labels=labels, annotations=annotations)
    assert await _comes_to_be(webhook, space, given, expected)


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    """API servers follow configurations and labels by watches of their own, and tell nobody."""
    while True:
        if await holds():
            return
        await asyncio.sleep(0.05)


async def _equals(found: Awaitable[str], expected: str) -> bool:
    return await found == expected


async def _comes_to_be(
    webhook: RunningWebhook, space: str, given: dict[str, Any], expected: bool
) -> bool:
    async def holds() -> bool:
        return _injected(await webhook.create(space, given, dry_run=True)) is expected

    try:
        async with asyncio.timeout(30):
            await _until(holds)
    except TimeoutError:
        return False
    return True


async def test_what_was_stored_is_what_kubernetes_takes(webhook: RunningWebhook) -> None:
    await webhook.label("shop", ENABLED)
    given = pod(
        {
            "name": "app",
            "image": "web:1",
            "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
            "livenessProbe": {"grpc": {"port": 9000}},
        },
        initContainers=[{"name": "setup", "image": "setup:1"}],
    )
    assert await _comes_to_be(webhook, "shop", given, expected=True)
    made = await webhook.create("shop", given)
    assert names(made, "initContainers") == ["istio-init", "istio-proxy", "setup"]
    (app,) = made["spec"]["containers"]
    assert app["readinessProbe"]["httpGet"]["path"] == "/app-health/app/readyz"
    assert app["livenessProbe"]["httpGet"]["port"] == 15020
    assert json.loads(made["metadata"]["annotations"][STATUS])["revision"] == "default"


async def test_a_pod_that_was_injected_before_is_the_same_again(webhook: RunningWebhook) -> None:
    await webhook.label("again", ENABLED)
    assert await _comes_to_be(webhook, "again", pod(), expected=True)
    first = await webhook.create("again", pod(), dry_run=True)
    kept = {key: first["metadata"][key] for key in ("generateName", "labels", "annotations")}
    again = {**pod(), "metadata": {**pod()["metadata"], **kept}, "spec": first["spec"]}
    second = await webhook.create("again", again, dry_run=True)
    assert second["spec"] == first["spec"]
    assert second["metadata"]["annotations"] == first["metadata"]["annotations"]


async def test_kubernetes_takes_a_pod_without_a_proxy(webhook: RunningWebhook) -> None:
    await webhook.label("grpc", ENABLED)
    given = pod(annotations={"inject.istio.io/templates": "grpc-agent"})
    assert await _comes_to_be(webhook, "grpc", given, expected=True)
    made = await webhook.create("grpc", given)
    assert names(made, "initContainers") == ["istio-proxy"]
    (app,) = made["spec"]["containers"]
    assert "GRPC_XDS_BOOTSTRAP" in [one["name"] for one in app["env"]]
    assert made["spec"]["securityContext"]["fsGroup"] == 1337


async def test_a_bad_annotation_is_refused_with_its_path(webhook: RunningWebhook) -> None:
    await webhook.label("shop", ENABLED)
    assert await _comes_to_be(webhook, "shop", pod(), expected=True)
    bad = pod(annotations={"sidecar.istio.io/interceptionMode": "MAGIC"})
    with pytest.raises(ApiError) as caught:
        await webhook.create("shop", bad)
    assert "sidecar.istio.io/interceptionMode" in caught.value.message
    assert "MAGIC" in caught.value.message


async def _events(client: Client, namespace: str, reason: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    async def some() -> bool:
        listed = await client.get(f"/api/v1/namespaces/{namespace}/events")
        found[:] = [one for one in listed["items"] if one["reason"] == reason]
        return bool(found)

    async with asyncio.timeout(SECONDS):
        await _until(some)
    return found


async def test_what_made_a_pod_is_told_that_it_is_not_injected(webhook: RunningWebhook) -> None:
    await webhook.label("told", ENABLED)
    assert await _comes_to_be(webhook, "told", pod(), expected=True)
    refused = pod(hostNetwork=True)
    await webhook.create("told", refused, dry_run=True)
    assert not (await webhook.client.get("/api/v1/namespaces/told/events"))["items"]
    await webhook.create("told", refused)
    (event,) = await _events(webhook.client, "told", "NotInjected")
    assert event["involvedObject"]["kind"] == "ReplicaSet"
    assert event["involvedObject"]["name"] == "web-5d4f8b7c9"
    assert "network of its node" in event["message"]


async def test_both_labels_on_a_namespace_are_told(webhook: RunningWebhook) -> None:
    await webhook.label("both", {**ENABLED, "istio.io/rev": "canary"})
    (event,) = await _events(webhook.client, "default", "ConflictingLabels")
    assert event["involvedObject"]["name"] == "both"


async def test_a_namespace_that_asks_for_nobody_is_told_and_one_that_another_serves_is_not(
    webhook: RunningWebhook,
) -> None:
    other = webhooks.configuration(Target(revision="theirs", service="another"))
    await kube.ensure(webhook.client, CONFIGURATIONS, other)
    try:
        for space, revision in (("served", "theirs"), ("home", "default"), ("slip", "canry")):
            await webhook.label(space, {"istio-injection": None, "istio.io/rev": revision})
        await webhook.label("shout", {"istio-injection": "Enabled"})

        def named(events: list[dict[str, Any]]) -> set[str]:
            return {event["involvedObject"]["name"] for event in events}

        async def told() -> bool:
            listed = await webhook.client.get("/api/v1/namespaces/default/events")
            reasons = {"UnknownRevision", "UnknownInjectionValue"}
            found = named([one for one in listed["items"] if one["reason"] in reasons])
            assert not found & {"served", "home"}
            return {"slip", "shout"} <= found

        async with asyncio.timeout(SECONDS):
            await _until(told)
    finally:
        name = other["metadata"]["name"]
        await webhook.client.request("DELETE", f"{CONFIGURATIONS}/{name}")
    events = await _events(webhook.client, "default", "UnknownRevision")
    texts = [one["message"] for one in events if one["involvedObject"]["name"] == "slip"]
    assert "istio.io/rev=canry is heard by nobody" in texts[0]


async def test_a_bundle_that_somebody_breaks_is_mended(webhook: RunningWebhook) -> None:
    good = await webhook.bundle()
    assert good
    path = f"{CONFIGURATIONS}/istio-sidecar-injector"
    for value in ("", "bm9uc2Vuc2U="):
        at = "/webhooks/0/clientConfig/caBundle"
        body = [{"op": "replace", "path": at, "value": value}]
        if value == "bm9uc2Vuc2U=":
            body[0]["value"] = good[: len(good) // 2 // 4 * 4]
        try:
            await webhook.client.request(
                "PATCH", path, body=body, content_type="application/json-patch+json"
            )
        except ApiError as error:
            assert "caBundle" in error.message  # noqa: PT017 - the server does not take nonsense
            continue
        async with asyncio.timeout(30):
            await _until(lambda: _equals(webhook.bundle(), good))
    await webhook.works()


async def test_settings_of_the_mesh_reach_the_next_pod(webhook: RunningWebhook) -> None:
    await webhook.label("shop", ENABLED)
    mesh = "defaultConfig: {proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true'}}\n"
    body = {"metadata": {"name": "istio"}, "data": {"mesh": mesh}}
    path = "/api/v1/namespaces/istio-system/configmaps"
    await kube.ensure(webhook.client, path, body)

    async def captured() -> bool:
        made = await webhook.create("shop", pod(), dry_run=True)
        return "ISTIO_META_DNS_CAPTURE" in json.dumps(made)

    async with asyncio.timeout(SECONDS):
        await _until(captured)
    await webhook.client.request("DELETE", f"{path}/istio")


async def test_check_inject_says_which_rule_decides_in_the_cluster(
    webhook: RunningWebhook, server: ApiServer, tmp_path: Path
) -> None:
    await webhook.label("asked", ENABLED)
    assert await _comes_to_be(webhook, "asked", pod(), expected=True)
    made = await webhook.create("asked", pod(hostNetwork=True))
    config = write_kubeconfig(server, tmp_path / "kubeconfig-of-a-user")

    async def check(name: str) -> dict[str, Any]:
        words = ["check-inject", name, "--kubeconfig", str(config), "-o", "json"]
        done = await asyncio.to_thread(CliRunner().invoke, app, words)
        assert done.exit_code == 0, done.output
        (found,) = json.loads(done.stdout)
        return dict(found)

    found = await check(f"{made['metadata']['name']}.asked")
    assert (found["injected"], found["rule"]) == (False, "HostNetwork")
    asked = [one["webhook"] for one in found["webhooks"] if one["namespaceFits"] and one["podFits"]]
    assert asked == ["namespace.sidecar-injector.istio.io"]
    warm = await check("Pod/seine-webhook-1.istio-system")
    assert warm["injected"] is False
    assert "no webhook is asked" in warm["text"]
