"""Warm-up through a real Envoy: an endpoint that is new gets less than its share at first.

Everything is bounded by the time that really passed: Envoy's weight of an endpoint grows with its
age, which is never more than the seconds since before it was told of. Where a machine was too slow
to ask while the endpoint was young, warming up takes longer in the next try.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from msgspec import Struct

from libs.proxy.scoper import Scoper
from libs.xds import generate
from libs.xds.types import Snapshot
from services.ctl import render
from tests.support import agent as agents
from tests.support import traffic
from tests.support.behaviour.wire import Applications, application
from tests.support.certificates import TestAuthority
from tests.support.envoy import Envoy, running

PORT = 8088
WINDOWS = (8, 30, 90)  # seconds
LEAST = 0.1  # the share of its weight that an endpoint has from the start
REQUESTS = 24
SLACK = 0.125  # Envoy begins somewhere in the order of endpoints
CLEAR = 0.45  # what says nothing: half of the requests, nearly
SECONDS = 60
POLICIES = {
    "in-turn": "{{simple: ROUND_ROBIN, warmup: {{duration: {0}s}}}}",
    "least-busy": "{{warmup: {{duration: {0}s, minimumPercent: 10}}}}",  # by default
    "old-words": "{{simple: ROUND_ROBIN, warmupDurationSecs: {0}s}}",
    "cold": "{{simple: ROUND_ROBIN}}",  # the negative control
}
WARM = [name for name in POLICIES if name != "cold"]


class Client(Struct, frozen=True):
    """A client's Envoy, where it is asked, and how long its endpoints warm up."""

    envoy: Envoy
    address: str
    window: int

    async def share(self, service: str) -> float:
        """Return which part of the requests to a service a new endpoint gets."""
        headers = {"host": f"{service}.example.com"}
        answers = [
            await traffic.http((self.address, PORT), headers=headers) for _ in range(REQUESTS)
        ]
        assert {answer.status for answer in answers} == {200}
        return sum(answer.headers["x-by"] == "new" for answer in answers) / REQUESTS

    async def first_shares(self, old: str, new: str) -> Mapping[str, tuple[float, float]]:
        """Return the shares of an endpoint that comes now, and what each may be at most."""
        started = time.monotonic()
        await self.envoy.serve(snapshot(self.address, self.window, [old, new]))
        assert await self.envoy.complaints() == []

        async def asked(service: str) -> tuple[float, float]:
            found = await self.share(service)
            weight = max(LEAST, (time.monotonic() - started) / self.window)
            return found, weight / (1 + weight) + SLACK

        return {service: await asked(service) for service in POLICIES}


def snapshot(address: str, window: int, endpoints: Sequence[str]) -> Snapshot:
    """Return what the client gets while services have these endpoints."""
    listed = ", ".join(f"{{address: {endpoint}}}" for endpoint in endpoints)
    parts = [
        """
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {serviceAccountName: client, containers: [{name: app}]}
status: {phase: Running, podIP: 127.0.0.1, conditions: [{type: Ready, status: "True"}]}
"""
    ]
    parts += [
        f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: shop}}
spec: {{hosts: [{name}.example.com], ports: [{{number: {PORT}, name: http, protocol: HTTP}}],
  resolution: STATIC, endpoints: [{listed}]}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: shop}}
spec: {{host: {name}.example.com, trafficPolicy: {{loadBalancer: {policy.format(window)}}}}}
"""
        for name, policy in POLICIES.items()
    ]
    mesh, problems = render.build({"mesh.yaml": "---".join(parts)})
    assert {problem.reason for problem in problems} == {"Deprecated"}
    metadata = {"INTERCEPTION_MODE": "NONE", "SEINE_OUTBOUND_ADDRESS": address}
    return generate.snapshot(Scoper().scope(mesh, render.find(mesh, "client.shop", metadata)))


@asynccontextmanager
async def client(folder: Path, window: int, old: str, new: str) -> AsyncIterator[Client]:
    """Run a client and the applications of two endpoints; it knows the old one alone."""
    address, certificate = agents.loopback(), TestAuthority().issue("client", "shop")
    async with AsyncExitStack() as stack:
        for name, place in (("old", old), ("new", new)):
            served = application(Applications(), name, address=place, ports=[PORT])
            await stack.enter_async_context(served)
        config = snapshot(address, window, [old])
        envoy = await stack.enter_async_context(running(config, certificate, folder))
        yield Client(envoy, address, window)


# proves: DestinationRule spec.trafficPolicy.loadBalancer.warmup.duration
# proves: DestinationRule spec.trafficPolicy.loadBalancer.warmup.minimumPercent
async def test_a_new_endpoint_gets_its_share_little_by_little(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Negative control: without a warm-up it gets half of the requests at once."""
    for window in WINDOWS:
        old, new = agents.loopback(), agents.loopback()
        folder = tmp_path_factory.mktemp("warm")
        async with client(folder, window, old, new) as asked:
            await asyncio.sleep(window)  # only then is the old endpoint warm itself
            shares = await asked.first_shares(old, new)
            if all(shares[name][1] < CLEAR for name in WARM):
                judge(shares)
                await until_warm(asked)
                return
    raise AssertionError(shares)  # too slow to see anything


def judge(shares: Mapping[str, tuple[float, float]]) -> None:
    """Compare first shares with what they may be, and with half of the requests."""
    assert 0.4 <= shares["cold"][0] <= 0.6
    for name in WARM:
        share, most = shares[name]
        assert share <= most, name
        assert share < shares["cold"][0], name


async def until_warm(asked: Client) -> None:
    """Wait until every service's new endpoint gets half of the requests."""
    async with asyncio.timeout(asked.window + SECONDS):
        for name in WARM:
            while await asked.share(name) < CLEAR:
                pass
