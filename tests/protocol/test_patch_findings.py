"""The whole way of a finding: what becomes of a patch is a problem of its EnvoyFilter."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from libs.api import reasons
from libs.protos.feed.v1.feed_pb2 import Problem, WatchProblemsRequest
from libs.protos.feed.v1.feed_pb2_grpc import MeshFeedStub
from libs.protos.findings.v1.findings_pb2 import WatchRequest
from libs.protos.findings.v1.findings_pb2_grpc import FindingsStub
from libs.xds.types import CLUSTER, ENDPOINT
from tests.support.control_plane_apps import SYSTEM, Apps, running_apps
from tests.support.ports import free_ports
from tests.support.push_plane import ConnectedProxy

CLUSTER_NAME = "outbound|80||web.shop.svc.cluster.local"
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
"""
FILTER = """
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: p, namespace: shop}
spec:
  configPatches:
    - applyTo: CLUSTER
      match: {cluster: {name: "%s"}}
      patch: {operation: MERGE, value: {connect_timeout: %s}}
    - applyTo: BOOTSTRAP
      patch: {operation: MERGE, value: {stats_flush_interval: 7s}}
"""
REF = "EnvoyFilter/shop/p"
SECONDS = 30


async def problems_until(
    apps: Apps, reached: Callable[[dict[str, Problem]], bool]
) -> dict[str, Problem]:
    """Return the problems of the EnvoyFilter by reason once they are as they should be."""
    latest: dict[str, Problem] = {}
    async with apps.to_discovery("seine-ctl", SYSTEM) as opened, asyncio.timeout(SECONDS):
        async for update in MeshFeedStub(opened).WatchProblems(WatchProblemsRequest()):
            latest = {one.reason: one for one in update.problems if one.ref == REF}
            if reached(latest):
                return latest
    raise AssertionError(latest)


def save(apps: Apps, cluster: str, timeout: str = "1s") -> None:
    (apps.config / "p.yaml").write_text(FILTER % (cluster, timeout))


async def serve(proxy: ConnectedProxy, refused: str) -> None:
    """Answer whatever comes; what has the patched cluster is refused in these words, if any."""

    def verdict(response: object) -> str | None:
        return refused if refused and CLUSTER_NAME in str(response) else None

    while True:
        body = await proxy.read(SECONDS)
        await proxy.send(*proxy.client.on_response(body, verdict))


async def test_findings_become_problems_with_file_and_line(tmp_path: Path) -> None:
    (mtls,) = free_ports(1)
    async with running_apps(tmp_path) as apps:
        (apps.config / "web.yaml").write_text(SERVICE)
        save(apps, "nobody")
        async with (
            apps.discovery(config_push_address=f"127.0.0.1:{mtls}"),
            apps.config_push(mtls_port=mtls),
        ):
            await apps.synced()
            async with apps.proxy([f"Bearer {apps.token('default')}"]) as proxy:
                await proxy.send(proxy.client.subscribe(CLUSTER))
                await proxy.until(lambda client: CLUSTER_NAME in client.versions.get(ENDPOINT, {}))
                found = await problems_until(
                    apps, lambda it: {*it} >= {reasons.PATCH_WITHOUT_EFFECT}
                )
                nothing = found[reasons.PATCH_WITHOUT_EFFECT]
                assert nothing.path == "spec.configPatches[0]"
                assert nothing.severity == "warning"
                assert (Path(nothing.file).name, nothing.line) == ("p.yaml", 7)
                later = found[reasons.PATCH_NOT_IN_FORCE]
                assert later.path == "spec.configPatches[1]"
                async with asyncio.TaskGroup() as group:
                    words = f"Error adding/updating cluster(s) {CLUSTER_NAME}: no"
                    reading = group.create_task(serve(proxy, words))
                    save(apps, CLUSTER_NAME)
                    refused = await problems_until(apps, lambda it: reasons.PATCH_REFUSED in it)
                    assert words in refused[reasons.PATCH_REFUSED].text
                    assert refused[reasons.PATCH_REFUSED].severity == "error"
                    reading.cancel()
            await problems_until(
                apps, lambda it: not {reasons.PATCH_REFUSED, reasons.PATCH_NOT_IN_FORCE} & {*it}
            )


@pytest.mark.parametrize(
    ("account", "namespace"), [("seine-ctl", SYSTEM), ("seine-discovery", "shop")]
)
async def test_only_discovery_may_hear_of_findings(
    tmp_path: Path, account: str, namespace: str
) -> None:
    async with running_apps(tmp_path) as apps, apps.discovery(), apps.config_push():
        async with apps.with_certificate(account, namespace) as opened:
            call = FindingsStub(opened).Watch(WatchRequest())
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await anext(aiter(call))
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        async with apps.with_certificate("seine-discovery", SYSTEM) as opened:
            call = FindingsStub(opened).Watch(WatchRequest())
            assert not (await anext(aiter(call))).patches
            call.cancel()
