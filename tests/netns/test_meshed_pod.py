"""An injected pod in both address families: rules, agent and Envoy around one that knows nothing.

What Envoy gets is what the control plane makes of the manifests. The application says who came to
it and what it was asked; an Envoy on the way leaves its mark in the request.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import meshed_pod, netns
from tests.support import pods as injection
from tests.support.agent import Agent
from tests.support.meshed_pod import STRICT, Heard, MeshedPod, ask, service
from tests.support.netns import Pod

REASON = netns.unavailable()
pytestmark = pytest.mark.skipif(bool(REASON), reason=f"network namespaces: {REASON}")

WEB, LEFT = 8080, 9090
# Of the ports outside, the mesh has services on two; they are not those that the tests ask.
ABROAD, LEFT_ABROAD, UNKNOWN = 8081, 8082, 8083
VIPS = {"web": ("10.96.0.10", "fd00:96::10"), "other": ("10.96.0.11", "fd00:96::11")}
ANNOTATION = "traffic.sidecar.istio.io/"
APP = {"name": "web", "image": "web:1", "ports": [{"name": "http", "containerPort": WEB}]}


@pytest.fixture
def pod() -> Iterator[Pod]:
    with netns.pod() as made:
        yield made


@asynccontextmanager
async def world(
    pod: Pod, folder: Path, *addresses: str, strict: bool = False, **annotations: str
) -> AsyncIterator[Agent]:
    """Run the pod with its application, and applications outside."""
    said = {f"{ANNOTATION}{name}": text for name, text in annotations.items()}
    if mode := said.pop(f"{ANNOTATION}interceptionMode", ""):
        said["sidecar.istio.io/interceptionMode"] = mode
    others: list[dict[str, Any]] = [
        service("web", WEB, addresses=vips("web", addresses)),
        service("other", ABROAD, LEFT_ABROAD, addresses=vips("other", addresses)),
    ]
    given = injection.pod(APP, labels={"app": "web"}, annotations=said, serviceAccountName="web")
    wanted = MeshedPod(given, addresses, (*others, *([STRICT] if strict else [])))
    outside = [
        netns.listen(port, address=host)
        for host in (pod.host, pod.host6)
        for port in (ABROAD, LEFT_ABROAD, UNKNOWN)
    ]
    async with (
        meshed_pod.listening([pod.listen(WEB), pod.listen(LEFT), *outside]),
        meshed_pod.running(pod, folder, wanted) as agent,
    ):
        yield agent


def vips(name: str, addresses: tuple[str, ...]) -> list[str]:
    """Return the addresses that a service has in a cluster whose pods have `addresses`."""
    families = {":" in address for address in addresses}
    return [vip for vip in VIPS[name] if (":" in vip) in families]


async def come(pod: Pod, family: int, port: int = WEB) -> Heard:
    """Ask from outside, in plain text."""
    return await ask(netns.dial(pod.address if family == 4 else pod.address6, port))


async def go(pod: Pod, family: int, port: int = ABROAD) -> Heard:
    """Ask outside, as the application."""
    return await ask(pod.dial(pod.host if family == 4 else pod.host6, port))


async def call_itself(pod: Pod, family: int) -> Heard:
    """Ask the application's own service, as the application."""
    return await ask(pod.dial(VIPS["web"][family == 6], WEB), "web.shop.svc.cluster.local")


async def test_both_families_go_through_envoy_and_exclusions_do_not(
    tmp_path: Path, pod: Pod
) -> None:
    async with world(
        pod,
        tmp_path,
        pod.address,
        pod.address6,
        strict=True,
        excludeInboundPorts=str(LEFT),
        excludeOutboundPorts=str(LEFT_ABROAD),
    ):
        for family in (4, 6):
            own = pod.address if family == 4 else pod.address6
            caller = pod.host if family == 4 else pod.host6
            assert (await come(pod, family)).status != 200  # STRICT holds
            left = await come(pod, family, LEFT)
            assert (left.status, left.peer, left.by_envoy) == (200, caller, False)
            went = await go(pod, family)
            assert (went.status, went.peer, went.by_envoy) == (200, own, True)
            assert (await go(pod, family, UNKNOWN)).status == 200
            passed = await go(pod, family, LEFT_ABROAD)
            assert (passed.status, passed.by_envoy) == (200, False)
            itself = await call_itself(pod, family)
            assert (itself.status, itself.peer) in {(200, "127.0.0.6"), (200, "::6")}
            assert "x-forwarded-client-cert:" in itself.request.lower()
        pod.lay("--cleanup-only")
        for family in (4, 6):  # the control: it is the rules that hold all this
            assert (await come(pod, family)).status == 200
            assert not (await go(pod, family)).by_envoy


async def test_a_pod_with_ipv6_only(tmp_path: Path, pod: Pod) -> None:
    async with world(pod, tmp_path, pod.address6) as agent:
        came = await come(pod, 6)
        assert (came.status, came.peer, came.by_envoy) == (200, "::6", True)
        went = await go(pod, 6)
        assert (went.status, went.peer, went.by_envoy) == (200, pod.address6, True)
        assert (await go(pod, 6, UNKNOWN)).status == 200
        itself = await call_itself(pod, 6)
        assert (itself.status, itself.peer) == (200, "::6")
        assert "x-forwarded-client-cert:" in itself.request.lower()
        assert (await agent.get(15020, "/healthz/ready"))[0] == 200
        assert (await agent.get(15090, "/stats/prometheus"))[0] == 200


async def test_tproxy_shows_the_application_who_called(tmp_path: Path, pod: Pod) -> None:
    async with world(pod, tmp_path, pod.address, pod.address6, interceptionMode="TPROXY"):
        for family in (4, 6):
            caller = pod.host if family == 4 else pod.host6
            own = pod.address if family == 4 else pod.address6
            came = await come(pod, family)
            assert (came.status, came.peer, came.by_envoy) == (200, caller, True)
            went = await go(pod, family)
            assert (went.status, went.peer, went.by_envoy) == (200, own, True)
            itself = await call_itself(pod, family)
            assert itself.status == 200
            assert "x-forwarded-client-cert:" in itself.request.lower()
