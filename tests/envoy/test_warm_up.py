"""Warm-up through a real Envoy: an endpoint that is new gets less than its share at first.

Everything is bounded by the time that really passed: Envoy's weight of an endpoint grows with its
age, which is never more than the seconds since before it was told of. Where a machine was too slow
to ask while the endpoint was young, another new one is tried.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

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
WINDOW = 8.0  # seconds
LEAST = 0.1  # the share of its weight that an endpoint has from the start
REQUESTS = 30
SLACK = 0.1  # Envoy begins somewhere in the order of endpoints
SECONDS = 60
POLICIES = {
    "in-turn": "{simple: ROUND_ROBIN, warmup: {duration: 8s}}",
    "least-busy": "{warmup: {duration: 8s, minimumPercent: 10}}",  # the least busy is the default
    "old-words": "{simple: ROUND_ROBIN, warmupDurationSecs: 8s}",
    "cold": "{simple: ROUND_ROBIN}",  # the negative control
}
WARM = [name for name in POLICIES if name != "cold"]


class Client(Struct, frozen=True):
    """A client's Envoy, and where it is asked."""

    envoy: Envoy
    address: str

    async def follow(self, endpoints: Sequence[str]) -> None:
        """Have Envoy know these endpoints of every service."""
        await self.envoy.serve(snapshot(self.address, endpoints))
        assert await self.envoy.complaints() == []

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
        await self.follow([old, new])

        async def asked(service: str) -> tuple[float, float]:
            found = await self.share(service)
            weight = max(LEAST, (time.monotonic() - started) / WINDOW)
            return found, weight / (1 + weight) + SLACK

        return {service: await asked(service) for service in POLICIES}


def snapshot(address: str, endpoints: Sequence[str]) -> Snapshot:
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
spec: {{host: {name}.example.com, trafficPolicy: {{loadBalancer: {policy}}}}}
"""
        for name, policy in POLICIES.items()
    ]
    mesh, problems = render.build({"mesh.yaml": "---".join(parts)})
    assert {problem.reason for problem in problems} == {"Deprecated"}
    metadata = {"INTERCEPTION_MODE": "NONE", "SEINE_OUTBOUND_ADDRESS": address}
    return generate.snapshot(Scoper().scope(mesh, render.find(mesh, "client.shop", metadata)))


@asynccontextmanager
async def client(folder: Path, old: str, new: Sequence[str]) -> AsyncIterator[Client]:
    """Run a client and the applications of endpoints; it knows the old one alone."""
    address = agents.loopback()
    certificate = TestAuthority().issue("client", "shop")
    async with AsyncExitStack() as stack:
        for name, places in (("old", [old]), ("new", new)):
            for place in places:
                served = application(Applications(), name, address=place, ports=[PORT])
                await stack.enter_async_context(served)
        config = snapshot(address, [old])
        envoy = await stack.enter_async_context(running(config, certificate, folder))
        yield Client(envoy, address)


# proves: DestinationRule spec.trafficPolicy.loadBalancer.warmup.duration
# proves: DestinationRule spec.trafficPolicy.loadBalancer.warmup.minimumPercent
async def test_a_new_endpoint_gets_its_share_little_by_little(tmp_path: Path) -> None:
    """Negative control: without a warm-up it gets half of the requests at once."""
    old, *new = (agents.loopback() for _ in range(7))
    async with client(tmp_path, old, new) as asked:
        await asyncio.sleep(WINDOW)  # only then is the old endpoint warm itself
        for endpoint in new:
            shares = await asked.first_shares(old, endpoint)
            if all(shares[name][1] < 0.45 for name in WARM):
                break
            await asked.follow([old])
        else:
            raise AssertionError(shares)  # too slow to see anything
        assert 0.4 <= shares["cold"][0] <= 0.6
        for name in WARM:
            share, most = shares[name]
            assert share <= most, name
            assert share < shares["cold"][0], name
        await until_warm(asked)


async def until_warm(asked: Client) -> None:
    """Wait until every service's new endpoint gets half of the requests."""
    async with asyncio.timeout(SECONDS):
        for name in WARM:
            while await asked.share(name) < 0.45:
                pass
