"""Which roots proxies say they trust, as the CA hears it from config-push."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from libs.protos.trust.v1 import trust_pb2_grpc
from libs.protos.trust.v1.trust_pb2 import CountReply, CountRequest
from libs.runtime.clock import SystemClock
from libs.xds.types import CLUSTER
from tests.support.control_plane_apps import SYSTEM, Apps, running_apps

OLD, NEW = "0" * 32, "1" * 32
CLOCK = SystemClock()


@pytest.fixture(name="apps")
async def running_control_plane(tmp_path: Path) -> AsyncIterator[Apps]:
    async with running_apps(tmp_path) as apps, apps.discovery(), apps.config_push():
        await apps.synced()
        yield apps


async def count(apps: Apps, *, since: float) -> CountReply:
    async with apps.with_certificate("seine-ca", SYSTEM) as over:
        return await trust_pb2_grpc.TrustStub(over).Count(CountRequest(root=NEW, since=since))


async def counted(apps: Apps, *said: str, since: float) -> CountReply:
    """Connect a proxy for each of `said`, and return what the CA is told."""
    async with AsyncExitStack() as stack:
        for number, roots in enumerate(said):
            token = f"Bearer {apps.token('default')}"
            proxy = await stack.enter_async_context(
                apps.proxy([token], f"client-{number}", roots=roots)
            )
            await proxy.send(proxy.client.subscribe(CLUSTER))
            await proxy.until(lambda client: CLUSTER in client.versions)
        return await count(apps, since=since)


async def test_all_trust_it_only_if_each_says_so(apps: Apps) -> None:
    both = f"{OLD},{NEW}"
    later = CLOCK.now() + 3600
    reply = await counted(apps, both, NEW, since=later)
    assert (reply.connected, reply.trusting) == (2, 2)
    for other in (OLD, "", "none"):  # the old bundle, an agent that is not ours, one from before
        async with asyncio.timeout(60):
            while (await count(apps, since=later)).connected:
                pass
        reply = await counted(apps, both, other, since=later)
        assert (reply.connected, reply.trusting) == (2, 1), other
        assert list(reply.others) == ["client-1.shop"]


async def test_who_had_no_certificate_when_it_came_got_one_with_the_bundle_of_then(
    apps: Apps,
) -> None:
    before = CLOCK.now() - 1
    assert (await counted(apps, "none", since=before)).trusting == 1


@pytest.mark.parametrize(
    ("account", "namespace"), [("seine-discovery", SYSTEM), ("seine-ca", "shop"), ("web", "shop")]
)
async def test_only_the_ca_is_told(account: str, namespace: str, apps: Apps) -> None:
    async with apps.with_certificate(account, namespace) as over:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await trust_pb2_grpc.TrustStub(over).Count(CountRequest(root=NEW))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
