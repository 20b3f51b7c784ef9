"""The whole way: a manifest is saved, discovery reads it, proxies are told, receipts say so."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy.admin.v3.config_dump_shared_pb2 import ClustersConfigDump
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse
from envoy.service.status.v3 import csds_pb2
from envoy.service.status.v3.csds_pb2 import ClientConfig
from prometheus_client import REGISTRY

from libs.model.ids import SpiffeId
from libs.pki import keys
from libs.protos.receipts.v1.receipts_pb2 import (
    GetStandingRequest,
    ListRequest,
    Receipt,
    WatchRequest,
)
from libs.rpc import channel, tls
from libs.runtime.build import version
from libs.runtime.clock import SystemClock
from libs.xds.types import CLUSTER, ENDPOINT
from services.config_push import ads, debug, mesh_pages
from services.config_push.asking import MAX_NAMES
from tests.support import redis_server
from tests.support.clock import settle
from tests.support.control_plane_apps import SYSTEM, Apps, running_apps
from tests.support.push_plane import ConnectedProxy, EndedError
from tests.support.tokens import refused

Code = grpc.StatusCode
SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{clusterIP: 10.96.0.{number}, ports: [{{name: http, port: 80}}]}}
"""


def _cluster(name: str) -> str:
    return f"outbound|80||{name}.shop.svc.cluster.local"


def _save(apps: Apps, name: str, number: int = 1) -> None:
    (apps.config / f"{name}.yaml").write_text(SERVICE.format(name=name, number=number))


@pytest.fixture
async def apps(tmp_path: Path) -> AsyncIterator[Apps]:
    async with running_apps(tmp_path) as started:
        _save(started, "web")
        yield started


@pytest.fixture
async def serving(apps: Apps) -> AsyncIterator[Apps]:
    async with apps.discovery(), apps.config_push():
        await apps.synced()
        yield apps


async def _has(proxy: ConnectedProxy, name: str) -> None:
    cluster = _cluster(name)
    await proxy.until(lambda client: cluster in client.versions.get(ENDPOINT, {}))


async def _settled(watching: AsyncIterator[Receipt], ref: str) -> Receipt:
    async with asyncio.timeout(60):
        async for receipt in watching:
            if receipt.settled and ref in receipt.causes:
                return receipt
    raise AssertionError


async def test_a_saved_manifest_reaches_a_proxy_and_its_receipt_says_so(serving: Apps) -> None:
    async with (
        serving.proxy([f"Bearer {serving.token('default')}"]) as proxy,
        serving.receipts("seine-ctl") as receipts,
    ):
        await proxy.send(proxy.client.subscribe(CLUSTER))
        await _has(proxy, "web")
        watching = receipts.Watch(WatchRequest())
        _save(serving, "db", 2)
        await _has(proxy, "db")
        receipt = await _settled(watching, "Service/shop/db")
        watching.cancel()
        listed = await receipts.List(ListRequest(ref="Service/shop/db"))
        stands = await receipts.GetStanding(GetStandingRequest())

    assert (receipt.connected, receipt.sent, receipt.acknowledged) == (1, 1, 1)
    assert receipt.milliseconds > 0
    assert receipt in listed.receipts
    assert (stands.connected, stands.synced, stands.rejecting) == (1, 1, 0)
    assert 0 < stands.taken_over < receipt.observed


async def test_a_mesh_certificate_is_as_good_as_a_token(serving: Apps) -> None:
    async with serving.proxy_with_certificate("default", "shop") as proxy:
        await proxy.send(proxy.client.subscribe(CLUSTER))
        await _has(proxy, "web")
    async with serving.proxy_with_certificate("default", "bank") as stranger:
        await stranger.send(stranger.client.subscribe(CLUSTER))
        assert await stranger.ended() is Code.PERMISSION_DENIED


async def test_no_bad_token_opens_a_stream(serving: Apps) -> None:
    identity = SpiffeId("cluster.local", "shop", "default")
    bad = refused(identity, serving.issuer, SystemClock().now())
    bad["another key"] = next(
        iter(refused(identity, keys.generate(), SystemClock().now()).values())
    )
    good = serving.token("default")
    attempts = {
        **{name: [f"Bearer {token}"] for name, token in bad.items()},
        "no header": [],
        "two headers": [f"Bearer {good}", f"Bearer {good}"],
        "lower case": [f"bearer {good}"],
        "no scheme": [good],
    }
    for name, headers in attempts.items():
        async with serving.proxy(headers) as proxy:
            await proxy.send(proxy.client.subscribe(CLUSTER))
            assert await proxy.ended() is Code.UNAUTHENTICATED, name
    async with serving.proxy([f"Bearer {good}"]) as control:
        await control.send(control.client.subscribe(CLUSTER))
        await _has(control, "web")


async def test_a_token_of_another_namespace_cannot_claim_this_one(serving: Apps) -> None:
    async with serving.proxy([f"Bearer {serving.token('default', 'bank')}"]) as proxy:
        await proxy.send(proxy.client.subscribe(CLUSTER))
        assert await proxy.ended() is Code.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("account", "namespace", "allowed"),
    [
        ("seine-ctl", "istio-system", True),
        ("seine-discovery", "istio-system", True),
        ("seine-ca", "istio-system", False),
        ("default", "shop", False),
        ("seine-ctl", "shop", False),
    ],
)
async def test_only_our_own_services_read_receipts(
    serving: Apps, account: str, namespace: str, allowed: bool
) -> None:
    async with serving.receipts(account, namespace) as receipts:
        if allowed:
            await receipts.List(ListRequest())
            return
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await receipts.List(ListRequest())
        assert caught.value.code() is Code.PERMISSION_DENIED
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await receipts.GetStanding(GetStandingRequest())
        assert caught.value.code() is Code.PERMISSION_DENIED
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in receipts.Watch(WatchRequest()):
                pass
        assert caught.value.code() is Code.PERMISSION_DENIED


async def test_without_discovery_proxies_keep_being_served_and_catch_up_later(apps: Apps) -> None:
    async with apps.config_push():
        async with apps.discovery():
            await apps.synced()
            async with apps.proxy([f"Bearer {apps.token('default')}"]) as before:
                await before.send(before.client.subscribe(CLUSTER))
                await _has(before, "web")
        _save(apps, "db", 2)
        async with apps.proxy([f"Bearer {apps.token('default')}"], "second") as proxy:
            await proxy.send(proxy.client.subscribe(CLUSTER))
            await _has(proxy, "web")
            async with apps.discovery():
                await _has(proxy, "db")


async def test_before_discovery_was_heard_of_streams_are_told_to_come_back(apps: Apps) -> None:
    async with apps.config_push(), apps.proxy([f"Bearer {apps.token('default')}"]) as proxy:
        await proxy.send(proxy.client.subscribe(CLUSTER))
        with pytest.raises(EndedError):
            await proxy.read()
        assert await proxy.call.code() is Code.UNAVAILABLE


async def test_with_a_cache_a_restart_needs_neither_discovery_nor_generating(
    apps: Apps, tmp_path: Path
) -> None:
    key = tmp_path / "cache.key"
    key.write_bytes(bytes(range(32)))
    folder = tmp_path / "redis"
    folder.mkdir()
    token = f"Bearer {apps.token('default')}"
    before = _stored()
    async with redis_server.running(folder) as redis:
        cache = {"redis_url": redis.url, "cache_key_file": key}
        async with apps.discovery(), apps.config_push(**cache):
            await apps.synced()
            async with apps.proxy([token]) as proxy:
                await proxy.send(proxy.client.subscribe(CLUSTER))
                await _has(proxy, "web")
            async with asyncio.timeout(60):
                while _stored() < before + 5:  # three sets, and the mesh in two values
                    await settle()
        generated = _generated("generated")
        async with apps.config_push(**cache), asyncio.timeout(60):
            await apps.synced()
            async with apps.proxy([token]) as proxy:
                await proxy.send(proxy.client.subscribe(CLUSTER))
                await _has(proxy, "web")
        assert _generated("generated") == generated
        assert _generated("cache") > 0


def _generated(origin: str) -> float:
    labels = {"type": "cds", "origin": origin}
    return REGISTRY.get_sample_value("seine_push_generated_total", labels) or 0.0


def _stored() -> float:
    labels = {"outcome": "stored"}
    return REGISTRY.get_sample_value("seine_push_cache_total", labels) or 0.0


def _asked(*names: str, type_url: str) -> DiscoveryRequest:
    """Return what istioctl asks."""
    node = {"id": "debug~0.0.0.0~istioctl~cluster.local", "metadata": {"NAMESPACE": "default"}}
    # A nonce that nobody gave: it sends the time.
    return DiscoveryRequest(
        type_url=type_url, resource_names=names, node=node, response_nonce="2026-11-23 14:00:00"
    )


async def _answer(
    apps: Apps, account: str, namespace: str, *, request: DiscoveryRequest
) -> DiscoveryResponse:
    """Ask over a stream of configuration, in the state of the world."""
    credentials = tls.trusting((apps.folder / "root.pem").read_bytes())
    address, server = f"127.0.0.1:{apps.push.xds}", "seine-config-push.istio-system.svc"
    token = apps.token(account, namespace)
    async with channel.connect(address, credentials=credentials, server_name=server) as opened:
        call: Any = opened.stream_stream(f"/{ads.SERVICE}/StreamAggregatedResources")(
            metadata=[("authorization", f"Bearer {token}")]
        )
        await call.write(request.SerializeToString())
        answer = DiscoveryResponse.FromString(await call.read())
        call.cancel()
    return answer


async def _pages(apps: Apps, account: str, namespace: str, *pages: str) -> list[bytes]:
    request = _asked(*pages, type_url="istio.io/debug")
    answer = await _answer(apps, account, namespace, request=request)
    assert {it.type_url for it in answer.resources} == {"istio.io/debug"}
    return [it.value for it in answer.resources]


async def _statuses(apps: Apps, account: str, namespace: str) -> list[ClientConfig]:
    request = _asked(type_url="istio.io/debug/syncz")
    answer = await _answer(apps, account, namespace, request=request)
    said = json.loads(answer.control_plane.identifier)
    assert said["ID"]
    assert said["Info"]["version"] == version()
    return [ClientConfig.FromString(it.value) for it in answer.resources]


async def test_istioctl_reads_debug_pages_over_the_stream(serving: Apps) -> None:
    async with serving.proxy([f"Bearer {serving.token('default')}"]) as proxy:
        await proxy.send(proxy.client.subscribe(CLUSTER))
        await _has(proxy, "web")
        syncz, dump, nonsense = await _pages(
            serving, "admin", SYSTEM, "syncz", "config_dump?proxyID=client.shop", "nonsense"
        )
        (row,) = json.loads(syncz)
        assert (row["proxy"], row["cluster_status"]) == ("client.shop", "SYNCED")
        assert _cluster("web").encode() in dump
        assert b"there is no page 'nonsense'" in nonsense
        (inject,) = await _pages(serving, "admin", SYSTEM, "inject")
        assert b"there is no page 'inject'; the webhook injects" in inject


# What a reader of the system's namespace, of the proxy's and of another one gets: a page, one
# without that proxy, or a refusal. A page that is not in the table fails the test.
SHOWN, EMPTY, REFUSED = "shown", "empty", "refused"
FOR_ALL = {"syncz", "connections"}
OF_A_PROXY = {"config_dump", "edsz", "ndsz", "ecdsz", "adsz"}
OF_THE_SYSTEM = {*mesh_pages.PAGES, "push_status", "receipts", "patches", "instancesz", "sidecarz"}
READABLE = {
    **{page: [SHOWN, SHOWN, EMPTY] for page in FOR_ALL},
    **{page: [SHOWN, SHOWN, REFUSED] for page in OF_A_PROXY},
    **{page: [SHOWN, REFUSED, REFUSED] for page in OF_THE_SYSTEM},
}
READERS = (("admin", SYSTEM), ("neighbour", "shop"), ("spy", "bank"))


def _verdict(page: str, answer: bytes) -> str:
    if answer in {b"only for the control plane", b"no proxy client.shop is connected here"}:
        return REFUSED
    json.loads(answer)  # else it is a page
    return EMPTY if page in FOR_ALL and b"client.shop" not in answer else SHOWN


async def _matrix(apps: Apps) -> dict[str, list[str]]:
    """Return what became of each page for each reader."""
    found: dict[str, list[str]] = {page: [] for page in READABLE}
    names = list(READABLE)
    for account, namespace in READERS:
        for start in range(0, len(names), MAX_NAMES):
            some = names[start : start + MAX_NAMES]
            asked = [f"{page}?proxyID=client.shop" for page in some]
            answers = await _pages(apps, account, namespace, *asked)
            for page, answer in zip(some, answers, strict=True):
                found[page].append(_verdict(page, answer))
    return found


@pytest.mark.parametrize("careless", [False, True])
async def test_who_may_read_each_page_over_the_stream(
    serving: Apps, careless: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: where all are taken for readers of the system, all is shown."""
    if careless:
        monkeypatch.setattr(debug.DebugPages, "_reads_as", lambda *_: "")
    async with serving.proxy([f"Bearer {serving.token('default')}"]) as proxy:
        await proxy.send(proxy.client.subscribe(CLUSTER))
        await _has(proxy, "web")
        listed = json.loads((await _pages(serving, "admin", SYSTEM, "list"))[0])
        assert set(listed) == set(READABLE)
        found = await _matrix(serving)
    wrong = {page: said for page, said in found.items() if said != READABLE[page]}
    sys.stdout.write(f"{len(found)} debug pages, {len(READERS)} readers: wrong = {len(wrong)}\n")
    assert set(wrong) == (set(READABLE) if careless else set())


async def test_from_another_namespace_only_its_own_proxies_are_seen(serving: Apps) -> None:
    async with serving.proxy([f"Bearer {serving.token('default')}"]) as proxy:
        await proxy.send(proxy.client.subscribe(CLUSTER))
        await _has(proxy, "web")
        asked = ("syncz", "config_dump?proxyID=client.shop", "push_status")
        syncz, dump, status = await _pages(serving, "spy", "bank", *asked)
        assert json.loads(syncz) == []
        assert dump == b"no proxy client.shop is connected here"
        assert status == b"only for the control plane"
        (row,) = json.loads((await _pages(serving, "neighbour", "shop", "syncz"))[0])
        assert row["proxy"] == "client.shop"


async def test_istioctl_reads_the_status_of_proxies_in_envoys_messages(serving: Apps) -> None:
    async with serving.proxy([f"Bearer {serving.token('default')}"]) as proxy:
        await proxy.send(proxy.client.subscribe(CLUSTER))
        await _has(proxy, "web")
        (found,) = await _statuses(serving, "admin", SYSTEM)
        assert found.node.id == "client.shop"
        request = _asked(type_url="istio.io/connect")
        (one,) = (await _answer(serving, "admin", SYSTEM, request=request)).resources
        assert Node.FromString(one.value) == found.node
        assert not (await _answer(serving, "spy", "bank", request=request)).resources
        assert found.node.metadata["NAMESPACE"] == "shop"
        states = {one.type_url: one.config_status for one in found.generic_xds_configs}
        assert states[CLUSTER] == csds_pb2.SYNCED
        request = _asked("client.shop", type_url="istio.io/debug/config_dump")
        clusters, *others = (await _answer(serving, "admin", SYSTEM, request=request)).resources
        dump = ClustersConfigDump.FromString(clusters.value)
        names = {Cluster.FromString(one.cluster.value).name for one in dump.dynamic_active_clusters}
        assert _cluster("web") in names
        kinds = [one.type_url.rpartition(".")[2] for one in others]
        assert kinds == ["ListenersConfigDump", "RoutesConfigDump"]


async def test_the_status_of_proxies_is_shown_to_their_namespace_and_the_systems(
    serving: Apps,
) -> None:
    async with serving.proxy([f"Bearer {serving.token('default')}"]) as proxy:
        await proxy.send(proxy.client.subscribe(CLUSTER))
        await _has(proxy, "web")
        assert await _statuses(serving, "spy", "bank") == []
        request = _asked("client.shop", type_url="istio.io/debug/config_dump")
        assert not (await _answer(serving, "spy", "bank", request=request)).resources
        assert len(await _statuses(serving, "neighbour", "shop")) == 1
