"""Addresses of Ingresses in a real API server: what `kubectl get ingress` shows."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from libs.kube.client import Client
from libs.kube.errors import NotFoundError
from tests.support import kube_accounts as kube
from tests.support.control_plane_apps import SYSTEM, Apps, running_apps
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_discovery import apply, define, delete, on_cluster

SECONDS = 90.0
FOLDER = "/apis/networking.k8s.io/v1/namespaces/shop/ingresses"
INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, namespace: shop, annotations: {{kubernetes.io/ingress.class: {its}}}}}
spec: {{defaultBackend: {{service: {{name: web, port: {{number: 80}}}}}}}}
"""
GATEWAY = f"""
apiVersion: v1
kind: Service
metadata: {{name: istio-ingressgateway, namespace: {SYSTEM}}}
spec: {{type: LoadBalancer, ports: [{{port: 80}}]}}
status: {{loadBalancer: {{ingress: [{{ip: 192.0.2.1}}, {{hostname: lb.example.com}}]}}}}
"""
ENTERED = ["192.0.2.1", "lb.example.com"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("kubernetes")) as found:
        yield found


@pytest.fixture
async def admin(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        for name in ("shop", SYSTEM):
            await kube.namespace(client, name)
        await define(client)
        await client.request("DELETE", FOLDER)
        yield client


@pytest.fixture
async def apps(tmp_path: Path) -> AsyncIterator[Apps]:
    async with running_apps(tmp_path) as found:
        yield found


async def _ingress(client: Client, name: str) -> dict[str, Any]:
    return dict(await client.get(f"{FOLDER}/{name}"))


def _entries(found: dict[str, Any]) -> list[str]:
    entries = found["status"]["loadBalancer"].get("ingress", [])
    return [it.get("ip") or it["hostname"] for it in entries]


async def _until(client: Client, name: str, expected: list[str]) -> dict[str, Any]:
    """Return an Ingress once it says so; nothing tells when, but asking."""
    found: dict[str, Any] = {}
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                found = await _ingress(client, name)
                if _entries(found) == expected:
                    return found
                await asyncio.sleep(0.1)
    except TimeoutError as error:
        raise AssertionError(f"not {expected}: {found}") from error


async def _to(client: Client, name: str, its: str) -> None:
    await apply(client, INGRESS.format(name=name, its=its))


async def test_an_ingress_says_where_it_is_entered(
    apps: Apps, server: ApiServer, admin: Client
) -> None:
    await apply(admin, GATEWAY)
    await _to(admin, "web", "istio")
    await _to(admin, "other", "nginx")
    async with on_cluster(apps, server):
        found = await _until(admin, "web", ENTERED)
        managers = {it["manager"] for it in found["metadata"]["managedFields"]}
        assert "seine-discovery" in managers
        await apply(admin, GATEWAY.replace("192.0.2.1", "192.0.2.2"))
        await _until(admin, "web", ["192.0.2.2", "lb.example.com"])
        await delete(admin, "Service", SYSTEM, "istio-ingressgateway")
        await _until(admin, "web", [])
        other = await _ingress(admin, "other")
    assert {it["manager"] for it in other["metadata"]["managedFields"]} == {"test"}


async def test_what_is_somebody_elses_from_now_on_loses_our_addresses_only(
    apps: Apps, server: ApiServer, admin: Client
) -> None:
    await apply(admin, GATEWAY)
    for name in ("web", "taken"):
        await _to(admin, name, "istio")
    async with on_cluster(apps, server):
        for name in ("web", "taken"):
            await _until(admin, name, ENTERED)
    # While discovery is away both get another class, and one of them the addresses of that.
    for name in ("web", "taken"):
        await _to(admin, name, "nginx")
    theirs = {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}}
    kind = "application/merge-patch+json"
    await admin.request("PATCH", f"{FOLDER}/taken/status", body=theirs, content_type=kind)
    async with on_cluster(apps, server):
        await _until(admin, "web", [])
        assert _entries(await _ingress(admin, "taken")) == ["203.0.113.1"]


async def test_an_ingress_that_comes_again_gets_its_addresses_again(
    apps: Apps, server: ApiServer, admin: Client
) -> None:
    await apply(admin, GATEWAY)
    await _to(admin, "web", "istio")
    async with on_cluster(apps, server):
        await _until(admin, "web", ENTERED)
        await delete(admin, "Ingress", "shop", "web")
        with pytest.raises(NotFoundError):
            await _ingress(admin, "web")
        await _to(admin, "web", "istio")
        await _until(admin, "web", ENTERED)
