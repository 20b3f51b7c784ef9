"""Metrics of config-push, whatever its callers call themselves: no series is anybody's own."""

import sys
from pathlib import Path

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from prometheus_client import REGISTRY, Counter

from libs.xds.types import CLUSTER, ENDPOINT
from services.config_push import metrics
from tests.support.mesh import endpoints, mesh, port, service
from tests.support.push_plane import RunningPlane, identity, node, running_plane
from tests.support.xds_client import DeltaClient

REVIEWS = service("reviews", port(9080))
WORLD = mesh(REVIEWS, endpoints(REVIEWS, "10.0.0.1"))
CALLERS = 300
HOSTS = 10_000
WARM = 80
"""Callers until what is bounded has reached its bound, such as the labels for versions."""

FEW = 10
"""Series that may be new: a way to end or a bucket that none of the first happened to have."""


def _series() -> set[tuple[str, frozenset[tuple[str, str]]]]:
    return {
        (sample.name, frozenset(sample.labels.items()))
        for family in REGISTRY.collect()
        for sample in family.samples
    }


async def _call(running: RunningPlane, number: int) -> None:
    """Connect with a name of one's own; every other is sent away for one that is not proved."""
    name, namespace = f"pod-{number}", f"space-{number}"
    if number % 2:
        async with running.proxy(name, namespace, CLUSTER_ID=name, ISTIO_VERSION=name) as proxy:
            await proxy.send(proxy.client.subscribe(CLUSTER))
            await proxy.receive()
        return
    type_url = f"type.googleapis.com/made.up.Type{number}"
    request = discovery_pb2.DeltaDiscoveryRequest(node=node(name, namespace), type_url=type_url)
    async with running.stream(DeltaClient(), identity("elsewhere", name)) as stream:
        await stream.send(request)
        await stream.ended()


async def test_names_of_callers_make_no_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_versions", set())  # what they fill is no later test's
    async with running_plane(tmp_path) as running:
        running.change(WORLD)
        for number in range(WARM):
            await _call(running, number)
        before = _series()
        for number in range(WARM, CALLERS):
            await _call(running, number)
        async with running.proxy("pod-0", "space-0") as proxy:
            for start in range(0, HOSTS, 1000):
                hosts = [f"outbound|80||host-{start + one}.example" for one in range(1000)]
                await proxy.send(proxy.client.subscribe(ENDPOINT, hosts))
            await proxy.send(proxy.client.subscribe(CLUSTER))
            await proxy.receive()
        new = _series() - before
    callers_own = ("pod-", "space-", "elsewhere", "made.up", "host-")
    assert [one for one in new if any(word in str(one) for word in callers_own)] == []
    assert len(new) < FEW
    sys.stdout.write(f"{CALLERS} callers, {HOSTS} hosts, {len(before)} series, new = {len(new)}\n")


def test_the_negative_control_a_label_that_is_a_caller_s_name() -> None:
    careless = Counter("test_careless_streams", "Streams by who asked.", ["node"])
    before = _series()
    for number in range(WARM):
        careless.labels(node=f"pod-{number}").inc()
    try:
        assert len(_series() - before) >= WARM
    finally:
        REGISTRY.unregister(careless)
