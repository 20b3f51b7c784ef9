"""gRPC's own xDS client, with the generators of config-push and a mesh from manifests."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from libs.model.ids import SpiffeId
from libs.model.mesh import Mesh
from libs.xds.generate import GENERATORS
from services.ctl.render import build
from tests.support.grpc_xds import Caller, answering, backend, calling
from tests.support.push_plane import RunningPlane, identity, running_plane

TARGET = "greeter.shop:80"
MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: greeter, namespace: shop}
spec: {clusterIP: 10.96.0.10, selector: {app: greeter}, ports: [{name: grpc, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: greeter, namespace: shop}
spec:
  host: greeter
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
"""
VERSION = """
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %(name)s, namespace: shop, labels: {kubernetes.io/service-name: greeter}}
addressType: IPv4
ports: [{name: grpc, port: %(port)s}]
endpoints:
  - addresses: [%(address)s]
    conditions: {ready: true}
    targetRef: {kind: Pod, name: %(name)s, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: %(name)s, namespace: shop, labels: {app: greeter, version: %(name)s}}
spec: {containers: [{name: app}]}
status:
  phase: Running
  podIP: %(address)s
  podIPs: [{ip: %(address)s}]
  conditions: [{type: Ready, status: "True"}]
"""
ADDRESSES = {"v1": "127.0.0.1", "v2": "127.0.0.2"}
ROUTES = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: greeter, namespace: shop}
spec:
  hosts: [greeter]
  http:
    - match: [{headers: {x-version: {exact: v2}}}]
      route: [{destination: {host: greeter, subset: v2}}]
    - route:
        - {destination: {host: greeter, subset: v1}, weight: %(first)s}
        - {destination: {host: greeter, subset: v2}, weight: %(second)s}
"""


class Shop:
    """A mesh, config-push that serves it, and a gRPC program that calls."""

    def __init__(self, running: RunningPlane, caller: Caller, ports: dict[str, int]) -> None:
        self._running = running
        self._ports = ports
        self.caller = caller

    async def apply(self, routes: str = "") -> None:
        """Serve the manifests with `routes`, and wait until the program has taken them over."""
        change = self._running.change(self.mesh(routes), "VirtualService/shop/greeter")
        receipt = await self._running.receipt(change.change)
        assert receipt.rejected == 0, receipt.rejections  # type: ignore[attr-defined]

    def mesh(self, routes: str) -> Mesh:
        """Return the mesh of the manifests."""
        versions = "".join(
            VERSION % {"name": name, "port": port, "address": ADDRESSES[name]}
            for name, port in self._ports.items()
        )
        found, problems = build({"shop.yaml": MANIFESTS + versions + routes})
        assert [problem for problem in problems if problem.severity == "error"] == []
        return found

    async def answers(self, count: int) -> Counter[str]:
        """Return who answered how often."""
        return Counter([await self.caller.call() for _ in range(count)])


async def authenticate(_context: object) -> SpiffeId:
    return identity()


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(backend(b"v1", ADDRESSES["v1"]))
        two = await stack.enter_async_context(backend(b"v2", ADDRESSES["v2"]))
        plane = running_plane(tmp_path, generators=GENERATORS, authenticate=authenticate)
        running = await stack.enter_async_context(plane)
        caller = await stack.enter_async_context(calling(tmp_path, running.address, TARGET))
        yield Shop(running, caller, {"v1": one, "v2": two})


async def test_a_service_without_routes_is_called_by_its_short_name(shop: Shop) -> None:
    await shop.apply()
    for version in ("v1", "v2"):
        await shop.caller.until(version)


async def test_calls_are_shared_by_weight_and_follow_a_change(shop: Shop) -> None:
    await shop.apply(ROUTES % {"first": 100, "second": 0})
    await shop.caller.until("v1")
    assert await shop.answers(10) == {"v1": 10}
    await shop.apply(ROUTES % {"first": 0, "second": 100})
    await shop.caller.until("v2")
    assert await shop.answers(10) == {"v2": 10}
    await shop.apply(ROUTES % {"first": 50, "second": 50})
    await shop.caller.until("v1")
    shared = await shop.answers(100)
    assert 20 < shared["v1"] < 80  # six times the standard deviation
    assert shared["v1"] + shared["v2"] == 100


BALANCED = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: balanced, namespace: shop}
spec: {host: greeter, trafficPolicy: {loadBalancer: {simple: %s}}}
"""


@pytest.mark.parametrize("simple", ["LEAST_REQUEST", "PASSTHROUGH"])
async def test_a_way_to_balance_that_this_client_does_not_know_keeps_nobody_from_calling(
    shop: Shop, simple: str
) -> None:
    await shop.apply(BALANCED % simple)
    for version in ("v1", "v2"):
        await shop.caller.until(version)


TIMED = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: greeter, namespace: shop}
spec:
  hosts: [greeter]
  http: [{timeout: 1s, route: [{destination: {host: greeter, subset: v1}}]}]
"""


async def _late() -> bytes:
    """Answer before the caller itself gives up, which it does after ten seconds."""
    await asyncio.sleep(8)
    return b"late"


async def test_a_timeout_of_a_route_ends_calls_that_would_wait_longer(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(answering(_late, ADDRESSES["v1"]))
        plane = running_plane(tmp_path, generators=GENERATORS, authenticate=authenticate)
        running = await stack.enter_async_context(plane)
        caller = await stack.enter_async_context(calling(tmp_path, running.address, TARGET))
        await Shop(running, caller, {"v1": port}).apply(TIMED)
        assert (await caller.call()).startswith("DEADLINE_EXCEEDED")


BY_NAME = """
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside, namespace: shop}
spec:
  hosts: [outside.example.com]
  resolution: DNS
  ports: [{number: 80, name: grpc, protocol: GRPC}]
  endpoints: [{address: localhost, ports: {grpc: %s}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: greeter, namespace: shop}
spec:
  hosts: [greeter]
  http: [{route: [{destination: {host: outside.example.com}}]}]
"""


async def test_a_destination_that_is_a_name_is_asked_for_by_the_program(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(backend(b"outside"))
        plane = running_plane(tmp_path, generators=GENERATORS, authenticate=authenticate)
        running = await stack.enter_async_context(plane)
        caller = await stack.enter_async_context(calling(tmp_path, running.address, TARGET))
        await Shop(running, caller, {}).apply(BY_NAME % port)
        await caller.until("outside")
