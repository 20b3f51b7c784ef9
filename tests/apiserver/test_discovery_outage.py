"""Discovery without its API server: what goes on, what a restart serves, and what happens after."""

import asyncio
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from libs.api import reasons
from libs.kube.client import Client
from libs.pki.seal import CacheSealer
from tests.support import kube_accounts as kube
from tests.support.control_plane_apps import Apps, running_apps
from tests.support.kube_discovery import (
    apply,
    delete,
    metric,
    on_cluster,
    readiness,
    subscribed,
    until_ready_says,
)
from tests.support.kube_machine import Machine, machine
from tests.support.redis_server import RedisServer

SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{ports: [{{name: http, port: 80}}]}}
"""
CERTIFICATE = """
apiVersion: v1
kind: Secret
metadata: {name: edge, namespace: shop}
type: kubernetes.io/tls
stringData: {tls.crt: PUBLIC-PART, tls.key: PRIVATE-PART}
"""


def _key(name: str) -> str:
    return f"shop/{name}.shop.svc.cluster.local"


@pytest.fixture
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("kubernetes")) as found:
        yield found


@pytest.fixture
async def apps(tmp_path: Path) -> AsyncIterator[Apps]:
    async with running_apps(tmp_path) as found:
        yield found


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[dict[str, object]]:
    """Settings of discovery that name a Redis of its own."""
    server = RedisServer(tmp_path)
    await server.start()
    key = tmp_path / "cache.key"
    key.write_bytes(secrets.token_bytes(32))
    yield {"redis_url": server.url, "cache_key_file": key}
    await server.stop()


async def _shop(client: Client, *names: str) -> None:
    await kube.namespace(client, "shop")
    for name in names:
        await apply(client, SERVICE.format(name=name))


def _key_of(settings: dict[str, object]) -> bytes:
    return Path(str(settings["cache_key_file"])).read_bytes()


async def _kept(settings: dict[str, object]) -> bytes:
    """Return all that is in the cache, unsealed."""
    sealer = CacheSealer(await asyncio.to_thread(_key_of, settings))
    redis = Redis.from_url(str(settings["redis_url"]))
    try:
        names = [name async for name in redis.scan_iter()]
        values = [sealer.open(await redis.get(name), name) for name in names]
    finally:
        await redis.aclose()
    assert None not in values
    return b"".join(filter(None, values))


async def _until_kept(settings: dict[str, object]) -> bytes:
    """Return all that is in the cache once that is a whole mesh; only looking tells when."""
    async with asyncio.timeout(20):
        while True:
            found = await _kept(settings)
            if b"saved" in found and b"shop/web" in found:
                return found
            await asyncio.sleep(0.05)


async def test_what_is_known_is_served_while_the_server_is_away(
    kubernetes: Machine, apps: Apps, tmp_path: Path
) -> None:
    async with kube.client_of(kubernetes.server, tmp_path) as client:
        await _shop(client, "web", "old")
    async with on_cluster(apps, kubernetes.server) as bound:
        async with subscribed(apps) as mesh:
            await mesh.until(lambda: _key("web") in mesh.mesh.services)
            await asyncio.to_thread(kubernetes.stop_apiserver)
            await mesh.until(lambda: reasons.NOT_FOLLOWED in mesh.reasons)
            assert "the API server does not answer" in mesh.texts(reasons.NOT_FOLLOWED)[0]
            assert (await readiness(bound))[0] == 200
        async with subscribed(apps) as late:  # who comes now gets what is known
            await late.until(lambda: _key("web") in late.mesh.services)
            await asyncio.to_thread(kubernetes.start_apiserver)
            async with kube.client_of(kubernetes.server, tmp_path) as client:
                await delete(client, "Service", "shop", "old")
                await _shop(client, "new")
            await late.until(lambda: _key("new") in late.mesh.services)
            await late.until(lambda: _key("old") not in late.mesh.services)
            await late.until(lambda: not late.reasons)


async def test_a_restart_serves_the_mesh_of_an_earlier_life_and_says_so(
    kubernetes: Machine, apps: Apps, cache: dict[str, object], tmp_path: Path
) -> None:
    async with kube.client_of(kubernetes.server, tmp_path) as client:
        await _shop(client, "web", "gone-meanwhile")
        await apply(client, CERTIFICATE)
        async with on_cluster(apps, kubernetes.server, **cache) as bound:
            await until_ready_says(bound, 200)
            kept = await _until_kept(cache)
        await delete(client, "Service", "shop", "gone-meanwhile")
    assert b"gone-meanwhile" in kept
    assert b"PRIVATE" not in kept
    assert b64encode(b"PRIVATE-PART")[:8] not in kept
    await asyncio.to_thread(kubernetes.stop_apiserver)
    async with on_cluster(apps, kubernetes.server, **cache) as bound, subscribed(apps) as mesh:
        await until_ready_says(bound, 200)
        await mesh.until(lambda: _key("gone-meanwhile") in mesh.mesh.services)
        await mesh.until(lambda: mesh.reasons == {reasons.EARLIER_LIFE})
        assert await metric(bound, "seine_mesh_stale_seconds") > 0
        await asyncio.to_thread(kubernetes.start_apiserver)
        await mesh.until(lambda: _key("gone-meanwhile") not in mesh.mesh.services, seconds=60)
        assert _key("web") in mesh.mesh.services
        await mesh.until(lambda: not mesh.reasons)
        assert await metric(bound, "seine_mesh_stale_seconds") == 0


async def test_without_an_earlier_life_a_restart_is_not_ready_until_the_server_is_back(
    kubernetes: Machine, apps: Apps, cache: dict[str, object], tmp_path: Path
) -> None:
    async with kube.client_of(kubernetes.server, tmp_path) as client:
        await _shop(client, "web")
    await asyncio.to_thread(kubernetes.stop_apiserver)
    async with on_cluster(apps, kubernetes.server, **cache) as bound:
        said = await until_ready_says(bound, 503, "services (")
        assert "Connect" in said
        await asyncio.to_thread(kubernetes.start_apiserver)
        await until_ready_says(bound, 200, seconds=60)
