"""Pods with an address in each family: proxies answer at both, and reach servers at both.

Each test has its like of IPv4 alone beside it: there the second family leads nowhere. What Envoy
gets is what the control plane makes of the manifests; there is no setting but a pod's addresses.
"""

import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from libs.xds.types import Snapshot
from services.ctl.render import generated
from tests.support import agent as agents
from tests.support import meshed_pod, netns
from tests.support import pods as injection
from tests.support.behaviour.fleet import ISTIO_ALPN
from tests.support.certificates import client_context
from tests.support.meshed_pod import STRICT, Heard, MeshedPod, ask, service
from tests.support.netns import Pod

REASON = netns.unavailable()
pytestmark = pytest.mark.skipif(bool(REASON), reason=f"network namespaces: {REASON}")

WEB, EDGE = 8080, 8088
# Where the store listens: at both of its addresses, or at one of them.
PAGES, BOTH, ONLY_FOUR, ONLY_SIX = 8081, 5432, 5434, 5436
VIPS = ("10.96.0.12", "fd00:96::12")
FAMILIES = (4, 6)
APP = {"name": "web", "image": "web:1", "ports": [{"name": "http", "containerPort": WEB}]}


@pytest.fixture
def pod() -> Iterator[Pod]:
    with netns.pod() as made:
        yield made


class World(Struct, frozen=True):
    """A pod of the mesh, and what a client of the mesh proves."""

    pod: Pod
    client: ssl.SSLContext

    async def come(self, family: int, *, proving: bool = True) -> Heard:
        """Ask the pod's application from outside."""
        address = self.pod.address if family == 4 else self.pod.address6
        tls = self.client if proving else None
        return await ask(netns.dial(address, WEB), "web.shop.svc.cluster.local", tls)

    async def go(self, family: int, port: int) -> Heard:
        """Ask the store by the address that its service has in a family, as the application."""
        return await ask(self.pod.dial(VIPS[family == 6], port), "store.shop.svc.cluster.local")


@asynccontextmanager
async def world(pod: Pod, folder: Path, *addresses: str) -> AsyncIterator[World]:
    """Run a pod that has `addresses`, and a store outside that has two."""
    given = injection.pod(APP, labels={"app": "web"}, serviceAccountName="web")
    others = (service("web", WEB, addresses=("10.96.0.10", "fd00:96::10")), *store(pod), STRICT)
    async with (
        meshed_pod.listening([pod.listen(WEB)]),
        stocked(pod),
        agents.mesh(folder, Snapshot({}), host=pod.host) as mesh,
        meshed_pod.joined(mesh, pod, MeshedPod(given, addresses, others)),
    ):
        proved = await agents.certificate(mesh, "client")
        yield World(pod, client_context(proved, folder, ISTIO_ALPN))


def store(pod: Pod) -> list[dict[str, Any]]:
    """Return the service `store` of both families, and its pod, which is this machine."""
    pages = service("store", PAGES, addresses=VIPS)
    bytes_ = service("store", BOTH, ONLY_FOUR, ONLY_SIX, addresses=VIPS, protocol="tcp")
    pages["spec"]["ports"] += bytes_["spec"]["ports"]
    return [pages, placed("store", pod.host, pod.host6)]


def placed(name: str, *addresses: str, **annotations: str) -> dict[str, Any]:
    """Return the pod `<name>-1`, which is ready at addresses."""
    given = injection.pod(labels={"app": name}, annotations=annotations, serviceAccountName=name)
    return meshed_pod.placed(given, addresses, f"{name}-1")


@asynccontextmanager
async def stocked(pod: Pod) -> AsyncIterator[None]:
    """Run the store's application."""
    four = [(port, pod.host) for port in (PAGES, BOTH, ONLY_FOUR)]
    six = [(port, pod.host6) for port in (PAGES, BOTH, ONLY_SIX)]
    sockets = [netns.listen(port, address=address) for port, address in (*four, *six)]
    async with meshed_pod.listening(sockets):
        yield


async def test_a_pod_answers_with_mutual_tls_at_both_of_its_addresses(
    tmp_path: Path, pod: Pod
) -> None:
    async with world(pod, tmp_path, pod.address, pod.address6) as found:
        for family, peer in ((4, "127.0.0.6"), (6, "::6")):
            came = await found.come(family)
            assert (came.status, came.peer, came.by_envoy) == (200, peer, True)
            assert "URI=spiffe://cluster.local/ns/shop/sa/client" in came.request
            assert (await found.come(family, proving=False)).status == 0  # STRICT holds


async def test_a_pod_reaches_a_service_by_both_of_its_addresses(tmp_path: Path, pod: Pod) -> None:
    async with world(pod, tmp_path, pod.address, pod.address6) as found:
        for family in FAMILIES:
            page = await found.go(family, PAGES)
            assert (page.status, page.by_envoy) == (200, True)
            assert (await found.go(family, BOTH)).status == 200
            # Whichever was dialled, the server is found at the address where it listens.
            four, six = [await found.go(family, port) for port in (ONLY_FOUR, ONLY_SIX)]
            assert (four.status, four.peer) == (200, pod.address)
            assert (six.status, six.peer) == (200, pod.address6)


async def test_a_pod_with_one_address_has_no_second_family(tmp_path: Path, pod: Pod) -> None:
    async with world(pod, tmp_path, pod.address) as found:
        assert (await found.come(4)).status == 200
        for port, status in ((PAGES, 200), (BOTH, 200), (ONLY_FOUR, 200), (ONLY_SIX, 0)):
            assert (await found.go(4, port)).status == status
        with pytest.raises(ConnectionRefusedError):
            await found.come(6)
        for port in (PAGES, BOTH):
            with pytest.raises(ConnectionRefusedError):
                await found.go(6, port)


def edge(pod: Pod, *addresses: str) -> Snapshot:
    """Return what a gateway at addresses gets that leads to the store."""
    template = {"inject.istio.io/templates": "gateway"}
    server = {"port": {"number": EDGE, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    route = {"destination": {"host": "store", "port": {"number": PAGES}}}
    gateway, routes = (
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": kind,
            "metadata": {"name": "edge", "namespace": "shop"},
            "spec": spec,
        }
        for kind, spec in (
            ("Gateway", {"selector": {"app": "edge"}, "servers": [server]}),
            (
                "VirtualService",
                {"hosts": ["*"], "gateways": ["edge"], "http": [{"route": [route]}]},
            ),
        )
    )
    every = [placed("edge", *addresses, **template), *store(pod), gateway, routes]
    return generated(
        {"in.yaml": "\n---\n".join(map(json.dumps, every))}, "edge-1.shop", {}
    ).snapshot


@asynccontextmanager
async def gate(pod: Pod, folder: Path, *addresses: str) -> AsyncIterator[None]:
    """Run a gateway at addresses, and the store."""
    environ = {"SEINE_LISTEN_ADDRESS": "", "SEINE_ADMIN_ADDRESS": "127.0.0.1"}
    run = partial(agents.agent, account="edge", role="router", environ=environ)
    async with (
        stocked(pod),
        agents.mesh(folder, edge(pod, *addresses), host=pod.host) as mesh,
        run(mesh, address=pod.address, prefix=pod.enter_as_proxy) as agent,
    ):
        await agent.ready()
        yield


async def test_a_gateway_listens_at_both_of_its_addresses(tmp_path: Path, pod: Pod) -> None:
    async with gate(pod, tmp_path, pod.address, pod.address6):
        for address in (pod.address, pod.address6):
            came = await ask(netns.dial(address, EDGE))
            assert (came.status, came.by_envoy) == (200, True)


async def test_a_gateway_with_one_address_has_no_second_listener(tmp_path: Path, pod: Pod) -> None:
    async with gate(pod, tmp_path, pod.address):
        assert (await ask(netns.dial(pod.address, EDGE))).status == 200
        with pytest.raises(ConnectionRefusedError):
            netns.dial(pod.address6, EDGE)
