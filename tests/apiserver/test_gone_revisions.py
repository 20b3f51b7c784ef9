"""Revisions that are gone, or that nobody answers for: what `seinectl` says, and what it prints."""

import asyncio
import json
import shlex
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from libs.inject import tags, webhooks
from libs.inject.tags import Tag
from libs.inject.webhooks import Target
from libs.kube.client import Client
from libs.kube.lease import Lease
from libs.runtime.clock import SystemClock
from services.ctl import leftovers
from services.ctl.app import app
from services.ctl.check import Finding
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_ca import SYSTEM
from tests.support.kube_discovery import define
from tests.support.kubeconfig import write_kubeconfig

SERVICE = "seine-webhook-canary"
SERVICES = f"/api/v1/namespaces/{SYSTEM}/services"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{SYSTEM}/endpointslices"
INJECTORS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
ROLES = "/apis/rbac.authorization.k8s.io/v1"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"
ENTRIES = "/apis/networking.istio.io/v1/namespaces/shop/workloadentries"
FOLDERS = {
    ("lease", SYSTEM): LEASES,
    ("workloadentry", "shop"): ENTRIES,
    ("clusterrole", ""): f"{ROLES}/clusterroles",
    ("clusterrolebinding", ""): f"{ROLES}/clusterrolebindings",
}
OWN = webhooks.configuration(Target(revision="canary", service=SERVICE))


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="client")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        await define(client, "workloadentries")
        for name in (SYSTEM, "shop"):
            await kube.namespace(client, name)
        yield client


async def _tag(server: ApiServer, folder: Path, *words: str) -> Result:
    config = str(write_kubeconfig(server, folder / "administrator"))
    command = ["tag", *words, "--kubeconfig", config]
    return await asyncio.to_thread(CliRunner().invoke, app, command)


def _service() -> dict[str, Any]:
    return {"metadata": {"name": SERVICE}, "spec": {"ports": [{"port": 443}]}}


def _slice(*, ready: bool) -> dict[str, Any]:
    return {
        "metadata": {"name": "one", "labels": {"kubernetes.io/service-name": SERVICE}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": ready}}],
        "ports": [{"port": 443}],
    }


async def _put(client: Client, folder: str, body: dict[str, Any]) -> None:
    await client.request("POST", folder, body=body)


@pytest.fixture(name="canary")
async def injector_of_a_revision(client: Client) -> AsyncIterator[None]:
    """Have the injector's configuration of a revision, and no Service yet."""
    await _put(client, INJECTORS, OWN)
    yield
    await client.request("DELETE", f"{INJECTORS}/{OWN['metadata']['name']}")


async def _answer(client: Client, *, ready: bool) -> None:
    if ready:
        kind = "application/merge-patch+json"
        body = {"endpoints": _slice(ready=True)["endpoints"]}
        await client.request("PATCH", f"{SLICES}/one", body=body, content_type=kind)
    else:
        await _put(client, SERVICES, _service())
        await _put(client, SLICES, _slice(ready=False))


async def _vanish(client: Client) -> None:
    await client.request("DELETE", f"{SERVICES}/{SERVICE}")
    await client.request("DELETE", f"{SLICES}/one")


SET = ("set", "stable", "--revision", "canary")


@pytest.mark.usefixtures("canary")
async def test_a_tag_for_whom_nobody_answers_is_refused_unless_forced(
    server: ApiServer, client: Client, tmp_path: Path
) -> None:
    refused = await _tag(server, tmp_path, *SET)
    assert refused.exit_code == 2
    assert f"there is no Service {SERVICE} in namespace {SYSTEM}" in refused.output
    assert "pods that ask for it are refused" in refused.output
    await _answer(client, ready=False)
    refused = await _tag(server, tmp_path, *SET)
    assert refused.exit_code == 2
    assert "is ready" in refused.output
    assert (await _tag(server, tmp_path, "list")).output.strip() == "there are no tags"
    forced = await _tag(server, tmp_path, *SET, "--yes")
    assert forced.exit_code == 0, forced.output
    await _answer(client, ready=True)
    again = await _tag(server, tmp_path, *SET, "--overwrite")
    assert again.exit_code == 0, again.output
    await _vanish(client)
    assert (await _tag(server, tmp_path, "remove", "stable")).exit_code == 0


@pytest.mark.usefixtures("canary")
async def test_a_tag_that_leads_to_nobody_is_told(
    server: ApiServer, client: Client, tmp_path: Path
) -> None:
    await _answer(client, ready=False)
    await _tag(server, tmp_path, *SET, "--yes")
    listed = await _tag(server, tmp_path, "list")
    assert listed.exit_code == 1
    assert f"no pod of Service {SERVICE} in namespace {SYSTEM} is ready" in listed.output
    assert "seinectl tag set stable --overwrite --revision REVISION" in listed.output
    assert "seinectl tag remove stable" in listed.output

    await _answer(client, ready=True)
    listed = await _tag(server, tmp_path, "list")
    assert listed.exit_code == 0, listed.output
    assert "answers" in listed.output
    assert all(it.good for it in await leftovers.findings(client, SYSTEM, ()))

    await _vanish(client)
    listed = await _tag(server, tmp_path, "list", "-o", "json")
    assert listed.exit_code == 1
    (row,) = json.loads(listed.stdout)
    assert row["fault"] == f"there is no Service {SERVICE} in namespace {SYSTEM}"
    found = [it for it in await leftovers.findings(client, SYSTEM, ()) if not it.good]
    tag, own = sorted(found, key=lambda it: it.text)
    assert "stops pods that ask for stable" in tag.text
    assert "seinectl tag remove stable" in tag.hint
    assert "stops pods that ask for canary" in own.text
    assert "kubectl delete mutatingwebhookconfiguration" in own.hint
    assert (await _tag(server, tmp_path, "remove", "stable")).exit_code == 0


async def test_what_is_left_is_named_and_goes_by_the_commands(client: Client) -> None:
    assert (await _left(client)).text == "nothing of revisions that are gone"
    for name in ("seine-discovery", "seine-discovery-canary", "seine-ca", "istiod-leader"):
        lease = Lease(client, SYSTEM, name, holder="a", clock=SystemClock())
        async with lease.leading():
            pass
    role, binding, _ = tags.objects(Tag(name="t", revision="canary", client=OWN_CLIENT))
    await _put(client, f"{ROLES}/clusterroles", role)
    await _put(client, f"{ROLES}/clusterrolebindings", binding)
    for name, of in (("gone", "-canary@seine-config-push-1"), ("here", "@seine-config-push-2")):
        controlled = {"istio.io/workloadController": f"seine-config-push{of}"}
        body = {
            "apiVersion": "networking.istio.io/v1",
            "kind": "WorkloadEntry",
            "metadata": {"name": name, "annotations": controlled},
            "spec": {"address": "192.0.2.9"},
        }
        await _put(client, ENTRIES, body)

    still = await _left(client, "default", "canary")
    assert still.hint.split() == ["kubectl", *["delete", "clusterrole,clusterrolebinding"], ROLE]
    left = await _left(client, "default")
    assert left.good  # it does no harm
    for command in left.hint.split("; "):
        await _run(client, command)
    assert (await _left(client, "default")).text == "nothing of revisions that are gone"
    kept = [it["metadata"]["name"] for it in (await client.get(LEASES))["items"]]
    assert sorted(kept) == ["istiod-leader", "seine-ca", "seine-discovery"]
    entries = (await client.get(ENTRIES))["items"]
    assert [it["metadata"]["name"] for it in entries] == ["here"]


OWN_CLIENT = {"service": {"name": SERVICE, "namespace": SYSTEM}}
ROLE = tags.role_name("t", SYSTEM)


async def _left(client: Client, *pods_of: str) -> Finding:
    found = await leftovers.findings(client, SYSTEM, pods_of)
    return next(it for it in found if it.subject == leftovers.LEFT)


async def _run(client: Client, command: str) -> None:
    """Do what `kubectl delete KINDS [-n NAMESPACE] NAMES` does."""
    kubectl, verb, kinds, *rest = shlex.split(command)
    assert (kubectl, verb) == ("kubectl", "delete")
    namespace, names = (rest[1], rest[2:]) if rest[0] == "-n" else ("", rest)
    for kind in kinds.split(","):
        for name in names:
            await client.request("DELETE", f"{FOLDERS[kind, namespace]}/{name}")
