"""What a webhook that is away, hangs or is not believed blocks in a real API server, and what not.

The table is printed. Nothing that a control plane needs to come up again is ever blocked: pods in
its own namespace and in Kubernetes', and every change that is none of the mesh's. Nor are pods that
opt out, or that ask for a revision that is not there: what is told of them is told later.
"""

import asyncio
import base64
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from libs.inject import webhooks
from libs.kube.client import Client
from libs.kube.errors import ApiError
from services.webhook.review import Question, Verdict
from services.webhook.validation import configuration
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_ca import until
from tests.support.kube_discovery import define
from tests.support.webhook_port import PATH, port_of

MUTATING = f"/apis/{webhooks.API_VERSION}/mutatingwebhookconfigurations"
ROUTES = "/apis/networking.istio.io/v1/namespaces/{}/virtualservices"
SYSTEM = "istio-system"
NAMESPACES: dict[str, dict[str, str]] = {
    "meshed": {"istio-injection": "enabled"},
    "plain": {},
    SYSTEM: {"istio-injection": "enabled"},  # a mistake that people make
    "kube-system": {"istio-injection": "enabled"},
}
PODS: dict[str, tuple[str, dict[str, str]]] = {
    "meshed": ("meshed", {}),
    "plain": ("plain", {}),
    "opt-out": ("meshed", {"sidecar.istio.io/inject": "false"}),
    "unknown": ("plain", {"istio.io/rev": "canry"}),
    SYSTEM: (SYSTEM, {}),
    "kube-system": ("kube-system", {}),
}
EXPECTED = """
failure      policy meshed     plain    opt-out  unknown  istio-system kube-system resource service
gone         Fail   blocked    admitted admitted admitted admitted     admitted    blocked  admitted
gone         Ignore uninjected admitted admitted admitted admitted     admitted    unjudged admitted
hangs        Fail   blocked    admitted admitted admitted admitted     admitted    blocked  admitted
hangs        Ignore uninjected admitted admitted admitted admitted     admitted    unjudged admitted
not believed Fail   blocked    admitted admitted admitted admitted     admitted    blocked  admitted
not believed Ignore uninjected admitted admitted admitted admitted     admitted    unjudged admitted
none         Fail   injected   admitted admitted admitted admitted     admitted    judged   admitted
"""


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="client")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        await define(client, "virtualservices")
        for name, labels in NAMESPACES.items():
            await kube.namespace(client, name)
            await client.request(
                "PATCH",
                f"/api/v1/namespaces/{name}",
                body={"metadata": {"labels": labels}},
                content_type="application/merge-patch+json",
            )
        yield client


Answered = set[str]
"""The namespaces of what a webhook was asked about."""


@asynccontextmanager
async def _gone(_: Answered) -> AsyncIterator[tuple[int, bytes]]:
    """A port where nobody listens any more."""
    async with _serving(set()) as (number, roots):
        pass
    yield number, roots


@asynccontextmanager
async def _hanging(answered: Answered) -> AsyncIterator[tuple[int, bytes]]:
    async with _serving(answered, wait=asyncio.Event().wait) as found:
        yield found


@asynccontextmanager
async def _not_believed(answered: Answered) -> AsyncIterator[tuple[int, bytes]]:
    """A port with a certificate of an authority that the API server was not told of."""
    async with _serving(answered) as (number, _), _serving(set()) as (_, others):
        yield number, others


@asynccontextmanager
async def _serving(
    answered: Answered, wait: Callable[[], Awaitable[object]] | None = None
) -> AsyncIterator[tuple[int, bytes]]:
    """Yield port and roots of a webhook that notes whom it was asked about, and lets all pass."""

    async def judge(question: Question, _: str) -> Verdict:
        if wait is not None:
            await wait()
        answered.add(question.namespace)
        return Verdict()

    async with port_of(judge) as port:
        issued = port.authority.issue("seine-webhook", SYSTEM, dns_names=("localhost",))
        port.certificate.use(issued.key, issued.chain)
        yield port.number, issued.roots


FAILURES = {"gone": _gone, "hangs": _hanging, "not believed": _not_believed, "none": _serving}


@asynccontextmanager
async def _configured(
    client: Client, at: tuple[int, bytes], policy: str, seconds: int
) -> AsyncIterator[None]:
    number, roots = at
    address = {
        "url": f"https://localhost:{number}{PATH}",
        "caBundle": base64.b64encode(roots).decode(),
    }
    written = [(MUTATING, webhooks.configuration(webhooks.Target()))]
    validating = configuration.configurations(configuration.Target())
    written += ((configuration.PATH, one) for one in validating)
    for path, one in written:
        for webhook in one["webhooks"]:
            webhook["timeoutSeconds"] = seconds
            webhook |= {"clientConfig": address, "failurePolicy": policy}
        one["webhooks"].append(_sentinel(path))
        await client.request("POST", path, body=one)
    try:
        for path, _ in written:
            await until(lambda: _stops(client, _last(path)))  # noqa: B023 - awaited at once
        yield
    finally:
        for path, one in written:
            await client.request("DELETE", f"{path}/{one['metadata']['name']}")


def _last(path: str) -> str:
    return "sentinel-" + path.rpartition("/")[2]


def _sentinel(path: str) -> dict[str, Any]:
    """A webhook that nobody answers, for one thing that nobody else makes.

    When it stops that thing, the API server has heard of the configuration in which it stands.
    """
    matching = {"name": "it", "expression": f"object.metadata.name == '{_last(path)}'"}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    return {
        "name": "sentinel.seine.test",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "failurePolicy": "Fail",
        "matchConditions": [matching],
        "rules": [rule | {"operations": ["CREATE"], "scope": "*"}],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }


async def _stops(client: Client, name: str) -> bool:
    body = {"metadata": {"name": name}}
    path = "/api/v1/namespaces/plain/configmaps"
    return await _is_blocked(client.request("POST", path, body=body, params={"dryRun": "All"}))


async def _row(client: Client, failure: str, policy: str) -> list[str]:
    answered: Answered = set()
    seconds = 1 if failure == "hangs" else 30
    async with FAILURES[failure](answered) as at, _configured(client, at, policy, seconds):
        # All at once: where nobody answers each of them waits.
        resource_blocked, service_blocked, *pods_blocked = await asyncio.gather(
            _is_blocked(_create_routes(client)),
            _is_blocked(_create_service(client)),
            *(_is_blocked(_create_pod(client, *one)) for one in PODS.values()),
        )
        blocked = dict(zip(PODS, pods_blocked, strict=True))
    assert answered <= {"meshed", "plain"}  # of nothing else is anybody asked
    pod = "injected" if "meshed" in answered else "uninjected"
    others = ["blocked" if blocked[name] else "admitted" for name in list(PODS)[1:]]
    resource = "judged" if "plain" in answered else "unjudged"
    return [
        failure,
        policy,
        "blocked" if blocked["meshed"] else pod,
        *others,
        "blocked" if resource_blocked else resource,
        "blocked" if service_blocked else "admitted",
    ]


async def _is_blocked(creation: Awaitable[object]) -> bool:
    try:
        await creation
    except ApiError as error:
        if "failed calling webhook" not in error.message:
            raise
        return True
    return False


async def _create_pod(client: Client, namespace: str, labels: dict[str, str]) -> None:
    spec = {"serviceAccountName": "default", "containers": [{"name": "app", "image": "app"}]}
    body = {"metadata": {"generateName": "pod-", "labels": labels}, "spec": spec}
    await client.request("POST", f"/api/v1/namespaces/{namespace}/pods", body=body)


async def _create_routes(client: Client) -> None:
    spec = {"hosts": ["web"], "http": [{"route": [{"destination": {"host": "web"}}]}]}
    body = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"generateName": "routes-"},
        "spec": spec,
    }
    await client.request("POST", ROUTES.format("plain"), body=body)


async def _create_service(client: Client) -> None:
    body = {"metadata": {"generateName": "web-"}, "spec": {"ports": [{"port": 80}]}}
    await client.request("POST", "/api/v1/namespaces/plain/services", body=body)


async def test_an_outage_blocks_what_it_must_and_nothing_that_brings_us_back(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    head, *expected = [line for line in EXPECTED.splitlines() if line]
    found = [head]
    for line in expected:
        failure, policy = line[:12].strip(), line[13:20].strip()
        row = await _row(client, failure, policy)
        widths = (13, 7, 11, 9, 9, 9, 13, 12, 9, 0)
        found.append("".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)))
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *found, ""]))
    assert [line.rstrip() for line in found] == [head, *expected]
