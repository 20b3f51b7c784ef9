"""Who asks for an injector that is not there is told once for each change, and counted."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from libs.inject.webhooks import Target, configuration
from libs.kube.follow import Change
from libs.kube.list import Name
from libs.runtime.tasks import background
from services.webhook.injection.asked_in_vain import SETTLE_SECONDS, AskedInVain
from tests.support.clock import VirtualClock

REV = "istio.io/rev"


class Cluster:
    """What is told while labels and configurations change."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self._clock = VirtualClock()
        self.of = AskedInVain(lambda name, found: self.told.append((name, found.wish)), self._clock)

    async def configure(self, name: str, raw: dict[str, Any] | None) -> None:
        content = None if raw is None else msgspec.Raw(msgspec.json.encode(raw))
        await self.of.take_configurations([Change(Name("", name), content)])

    async def settle(self) -> None:
        await self._clock.advance(SETTLE_SECONDS + 0.1)


@pytest.fixture(name="cluster")
async def cluster_with_an_injector() -> AsyncIterator[Cluster]:
    cluster = Cluster()
    await cluster.configure("ours", configuration(Target()))
    async with background(cluster.of.run()):
        yield cluster


def _count() -> float | None:
    labels = {"reason": "UnknownRevision"}
    return REGISTRY.get_sample_value("seine_webhook_namespaces_asking_in_vain", labels)


async def test_each_change_is_told_once(cluster: Cluster) -> None:
    for revision in ("default", "canry", "canry", "canari"):
        cluster.of.note_namespace("shop", {REV: revision})
        await cluster.settle()
    assert cluster.told == [("shop", "canry"), ("shop", "canari")]
    assert _count() == 1
    cluster.of.note_namespace("shop", None)
    await cluster.settle()
    assert _count() == 0


async def test_a_tag_that_comes_a_moment_later_is_waited_for(cluster: Cluster) -> None:
    cluster.of.note_namespace("shop", {REV: "prod"})
    await cluster.configure("tag", configuration(Target(tag="prod")))
    await cluster.settle()
    assert cluster.told == []
    await cluster.configure("tag", None)
    await cluster.settle()
    assert cluster.told == [("shop", "prod")]


async def test_a_new_bundle_is_no_change(cluster: Cluster) -> None:
    cluster.of.note_namespace("shop", {REV: "canry"})
    await cluster.settle()
    await cluster.configure("ours", configuration(Target(), "bmV3"))
    await cluster.settle()
    assert cluster.told == [("shop", "canry")]
