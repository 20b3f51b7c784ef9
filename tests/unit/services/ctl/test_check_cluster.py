"""What `check` makes of pods that are late, old or silent."""

import asyncio
from collections.abc import Iterator, Mapping

import pytest

from libs.kube import forward
from libs.kube.client import Client
from libs.kube.errors import UnreachableError
from libs.kube.forward import Page
from services.ctl import check_cluster
from services.ctl.check import Finding
from services.ctl.cluster_plane import ClusterPlane, Pod
from services.ctl.where import Cluster

READY, OLD = Page(200, b"ready\n"), Page(200, b'{"version": "1.0"}')
NEW = Page(200, b'{"version": "2.0"}')
WAITING = Page(503, b"waiting for certificate\nwaiting for mesh\n")


class _Plane(ClusterPlane):
    """Has one pod of each service, a second one of config-push, and a third one of a revision."""

    async def pods(self, service: str) -> list[Pod]:
        names = [f"{service}-1", f"{service}-2"] if service == "seine-config-push" else [service]
        found = [Pod(name, "Pending" if name == "seine-ca" else "Running", True) for name in names]
        if service != "seine-config-push":
            return found
        return [*found, Pod(f"{service}-canary-1", "Running", True, "canary")]

    async def all_pages(self, service: str, path: str) -> dict[str, bytes]:
        return {f"{service}-1": b"[]"}

    async def page_of_any(self, service: str, path: str) -> bytes:
        return b"[]"


class _Nobody(Client):
    """An API server without pods that have a proxy."""

    async def get(self, path: str, params: object = None) -> Mapping[str, object]:
        return {"items": []}


@pytest.fixture(name="runner")
def event_loop_of_a_command() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def _found(
    runner: asyncio.Runner,
    monkeypatch: pytest.MonkeyPatch,
    pages: Mapping[tuple[str, str], Page],
) -> dict[str, Finding]:
    async def get(client: Client, namespace: str, pod: str, *, port: int, path: str) -> Page:
        del client, namespace, port
        if pod == "seine-webhook":
            raise UnreachableError("connection refused")
        return pages.get((pod, path), READY if path == "/ready" else OLD)

    monkeypatch.setattr(forward, "get", get)
    cluster = Cluster(kubeconfig="mine", context="", system_namespace="istio-system")
    plane = _Plane(_Nobody.__new__(_Nobody), runner, cluster)
    return {one.subject: one for one in check_cluster.findings(plane)}


def test_a_pod_says_itself_what_it_waits_for(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = {("seine-discovery", "/ready"): WAITING}
    found = _found(runner, monkeypatch, pages)
    assert found["seine-discovery"].text == "waiting for certificate, waiting for mesh"
    assert found["seine-discovery"].hint == "kubectl logs -n istio-system seine-discovery"
    assert (found["seine-ca"].good, found["seine-ca"].text) == (False, "it is Pending")
    assert found["seine-webhook"].text == "connection refused"
    assert found["seine-config-push-1"].good
    assert "control plane" not in found


def test_several_versions_are_said(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _found(runner, monkeypatch, {("seine-config-push-2", "/version"): NEW})
    assert not found["control plane"].good
    assert found["control plane"].text == "of several versions: 1.0, 2.0"


def test_another_revision_may_have_another_version(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = {("seine-config-push-canary-1", "/version"): NEW}
    found = _found(runner, monkeypatch, pages)
    assert "control plane" not in found
    assert found["seine-config-push-canary-1"].text == "ready, version 2.0, revision canary"
