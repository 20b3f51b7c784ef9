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
from libs.protos.feed.v1 import feed_pb2_grpc
from libs.rpc import channel, tls
from libs.runtime.tasks import background
from tests.support import kube_accounts as kube
from tests.support.control_plane_apps import SYSTEM, Apps, running_apps
from tests.support.kube_ca import ClusterCa, cluster_ca
from tests.support.kube_discovery import (
    Subscriber,
    apply,
    delete,
    metric,
    on_cluster,
    readiness,
    subscribed,
    until_ready_says,
)
from tests.support.kube_machine import Machine, machine
from tests.support.kubeconfig import write_kubeconfig
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
    async with asyncio.timeout(60):
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
            words = "the API server does not answer"
            await mesh.until(lambda: words in "".join(mesh.texts(reasons.NOT_FOLLOWED)[:1]))
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


async def _of_cluster(ca: ClusterCa, client: Client, folder: Path) -> dict[str, object]:
    """Settings of a discovery that has its certificate from a CA which asks the API server.

    Its token is one about which the CA was not told lately.
    """
    token = folder / "discovery.token"
    token.write_text(await kube.pod_token(client, SYSTEM, "discovery-1", by="seine-discovery"))
    roots = folder / "cluster-roots.pem"
    roots.write_bytes(ca.roots)
    return {
        "ca_address": f"127.0.0.1:{ca.bound.token}",
        "ca_root_file": roots,
        "token_file": token,
    }


async def _hears_of(material: tls.Material, port: int, name: str) -> None:
    """Return once a subscriber with this certificate has a Service from the feed."""
    found = Subscriber()
    credentials = tls.Keychain(material).channel_credentials()
    async with (
        channel.connect(
            f"127.0.0.1:{port}",
            credentials=credentials,
            server_name=f"seine-discovery.{SYSTEM}.svc",
        ) as opened,
        background(found.follow_mesh(feed_pb2_grpc.MeshFeedStub(opened))),
    ):
        await found.until(lambda: _key(name) in found.mesh.services)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kept", [True, False])
async def test_a_restart_needs_no_certificate_from_a_ca_that_cannot_ask_anybody(
    kubernetes: Machine, apps: Apps, cache: dict[str, object], tmp_path: Path, kept: bool
) -> None:
    """Without a folder that outlives the process, the circle stays closed: the control."""
    config = str(write_kubeconfig(kubernetes.server, tmp_path / "ca.kubeconfig"))
    own = tmp_path / "of-the-pod"
    async with (
        kube.client_of(kubernetes.server, tmp_path) as client,
        cluster_ca(tmp_path, client, config) as ca,
    ):
        await _shop(client, "web")
        reader = await ca.enrol(SYSTEM, "seine-config-push", "push-1")
        wanted = await _of_cluster(ca, client, tmp_path) | cache
        wanted |= {"certificate_dir": own} if kept else {}
        async with on_cluster(apps, kubernetes.server, **wanted) as bound:
            await until_ready_says(bound, 200)
            await _until_kept(cache)
        wanted |= await _of_cluster(ca, client, tmp_path)
        await asyncio.to_thread(kubernetes.stop_apiserver)
        again = on_cluster(apps, kubernetes.server, **wanted)
        if not kept:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(8), again:
                    pytest.fail("it has a certificate that nobody can have given it")
            return
        async with again as bound:
            await until_ready_says(bound, 200)
            await _hears_of(reader, bound.feed, "web")
    assert (own / "certificate.json").stat().st_mode & 0o777 == 0o600
