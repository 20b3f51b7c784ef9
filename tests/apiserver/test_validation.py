"""Validation behind a real API server: what users see, and when it is enforced."""

import asyncio
import base64
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from libs.api.problem import Problem
from libs.kube.client import Client
from libs.kube.collection import Collection
from libs.kube.errors import InvalidError
from libs.kube.follow import Change, Follower
from libs.runtime.clock import SystemClock
from libs.runtime.tasks import background
from services.webhook.endpoint import Judge
from services.webhook.review import Question, Verdict
from services.webhook.validation import configuration
from services.webhook.validation.activation import JSON_PATCH, Activation
from services.webhook.validation.configuration import Target
from services.webhook.validation.judge import Judge as Validator
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_discovery import define
from tests.support.webhook_port import PATH, Port, port_of

CRDS = Path(__file__).parents[2] / "deploy" / "crds"
TARGET = Target()
CONFIGURATIONS = Collection(name="validatingwebhookconfigurations", paths=(configuration.PATH,))
ROUTES = "/apis/networking.istio.io/v1/namespaces/shop/virtualservices"
SECONDS = 30.0


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="client")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        await define(client, "gateways", "virtualservices")
        for name in ("istio-system", "shop"):
            await kube.namespace(client, name)
        yield client


class Policies:
    """The failure policies that each webhook had, as the API server tells of them."""

    def __init__(self, activation: Activation) -> None:
        self._activation = activation
        self._changed = asyncio.Condition()
        self.of: dict[str, list[str]] = defaultdict(list)

    async def take(self, changes: Sequence[Change]) -> None:
        await self._activation.take(changes)
        async with self._changed:
            for change in changes:
                for webhook in json.loads(bytes(change.raw))["webhooks"] if change.raw else ():
                    self.of[webhook["name"]].append(webhook["failurePolicy"])
            self._changed.notify_all()

    async def were(self, webhook: str, *policies: str) -> None:
        """Wait until a webhook has had these policies, one after the other."""
        async with asyncio.timeout(SECONDS), self._changed:
            await self._changed.wait_for(lambda: self.of[webhook] == [*policies])


@asynccontextmanager
async def _configured(client: Client, judge: Judge) -> AsyncIterator[Port]:
    """Serve a judge that the API server asks, with the policy Ignore."""
    async with port_of(judge) as port:
        issued = port.authority.issue("seine-webhook", "istio-system", dns_names=("localhost",))
        port.certificate.use(issued.key, issued.chain)
        written = configuration.configurations(TARGET)
        for one in written:
            url = f"https://localhost:{port.number}{PATH}"
            bundle = base64.b64encode(issued.roots).decode()
            one["webhooks"][0]["clientConfig"] = {"url": url, "caBundle": bundle}
            await client.request("POST", configuration.PATH, body=one)
        try:
            yield port
        finally:
            for one in written:
                name = one["metadata"]["name"]
                await client.request("DELETE", f"{configuration.PATH}/{name}")


@asynccontextmanager
async def _activated(client: Client) -> AsyncIterator[Policies]:
    activation = Activation(client, TARGET, SystemClock())
    policies = Policies(activation)
    follower = Follower(client, CONFIGURATIONS, policies.take)
    async with background(activation.run(), follower.run()):
        yield policies


async def _nothing(_: bytes) -> Sequence[Problem]:
    return []


def _routes(host: str, **metadata: object) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "routes", **metadata},
        "spec": {"hosts": ["web"], "http": [{"route": [{"destination": {"host": host}}]}]},
    }


async def test_it_is_enforced_once_it_was_seen_to_refuse(client: Client) -> None:
    async with _configured(client, Validator(_nothing).judge), _activated(client) as policies:
        await policies.were(configuration.REVISION_WEBHOOK, "Ignore", "Fail")
        await policies.were(configuration.DEFAULT_WEBHOOK, "Ignore", "Fail")
        path = f"{configuration.PATH}/{TARGET.names[1]}"
        careless = [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]
        await client.request("PATCH", path, body=careless, content_type=JSON_PATCH)
        await policies.were(configuration.DEFAULT_WEBHOOK, *(["Ignore", "Fail"] * 2))
        assert (await client.get("/apis/networking.istio.io/v1/gateways"))["items"] == []


async def test_one_that_lets_everything_through_is_never_enforced(client: Client) -> None:
    asked = asyncio.Queue[Question]()

    async def careless(question: Question, _: str) -> Verdict:
        asked.put_nowait(question)
        return Verdict()

    async with _configured(client, careless), _activated(client) as policies:
        for _ in range(4):  # both webhooks, each twice: the first attempts are over
            question = await asyncio.wait_for(asked.get(), SECONDS)
            assert question.dry_run
        assert set(map(tuple, policies.of.values())) == {("Ignore",)}


@pytest.mark.parametrize("revision", [{}, {"labels": {"istio.io/rev": "default"}}])
async def test_a_bad_resource_is_refused_with_its_path(
    client: Client, revision: dict[str, object]
) -> None:
    async with _configured(client, Validator(_nothing).judge):
        with pytest.raises(InvalidError) as refused:
            await client.request("POST", ROUTES, body=_routes("a b", **revision))
        assert "VirtualService/shop/routes has 1 error:" in refused.value.message
        assert "- spec.http[0].route[0].destination.host: " in refused.value.message
        for dry_run in ({"dryRun": "All"}, {}):
            await client.request("POST", ROUTES, body=_routes("web", **revision), params=dry_run)
        await client.request("DELETE", f"{ROUTES}/routes")


async def test_without_the_webhook_the_bad_resource_is_stored(client: Client) -> None:
    await client.request("POST", ROUTES, body=_routes("a b"))
    await client.request("DELETE", f"{ROUTES}/routes")
