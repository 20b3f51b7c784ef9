"""Pods that no API server asks about are told of once for each owner, and counted as they are."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from libs.inject import unserved, words
from libs.inject.scene import NamespaceFacts
from libs.inject.webhooks import Target, configuration
from libs.kube.follow import Change
from libs.kube.list import Name
from libs.runtime.tasks import background
from services.webhook.injection import unasked
from services.webhook.injection.events import Notice
from services.webhook.injection.unasked import SELECTORS, SETTLE_SECONDS, Surroundings, UnaskedPods
from tests.support.clock import VirtualClock
from tests.support.pods import pod

REV, SWITCH, INJECT = words.REVISION, words.NAMESPACE_SWITCH, words.INJECT
OURS = ("istio-system", "ours")


class Cluster:
    """What is told while pods, labels and configurations change."""

    def __init__(self) -> None:
        self.told: list[Notice] = []
        self.room = True
        self.labels: dict[str, dict[str, str]] = {}
        self.configurations = [configuration(Target(service=OURS[1]))]
        self._clock = VirtualClock()
        around = Surroundings(
            namespace=lambda name: NamespaceFacts(name=name, labels=self.labels.get(name, {})),
            asks=lambda: [one for raw in self.configurations for one in unserved.asks(raw)],
            service=OURS,
        )
        self.of = UnaskedPods(self._tell, self._clock, around)

    def _tell(self, notice: Notice) -> bool:
        if self.room:
            self.told.append(notice)
        return self.room

    async def make(
        self,
        name: str,
        labels: dict[str, str],
        *,
        owner: str = "web",
        age: float = 0,
        annotations: dict[str, str] | None = None,
    ) -> None:
        raw: dict[str, Any] = pod(labels=labels, annotations=annotations)
        raw["metadata"]["ownerReferences"][0]["name"] = owner
        made = datetime.fromtimestamp(self._clock.now() - age, UTC)
        raw["metadata"]["creationTimestamp"] = made.isoformat()
        await self._note(name, msgspec.Raw(msgspec.json.encode(raw)))

    async def remove(self, name: str) -> None:
        await self._note(name, None)

    async def _note(self, name: str, raw: msgspec.Raw | None) -> None:
        await self.of.sink(SELECTORS[0])([Change(Name("shop", name), raw)])

    async def settle(self) -> None:
        await self._clock.advance(SETTLE_SECONDS + 0.1)

    def owners(self) -> list[str]:
        return [one.about.name for one in self.told]


@pytest.fixture(name="cluster")
async def cluster_with_an_injector() -> AsyncIterator[Cluster]:
    cluster = Cluster()
    async with background(cluster.of.judge()):
        yield cluster


def _count(reason: str) -> float | None:
    return REGISTRY.get_sample_value("seine_webhook_pods_not_asked_about", {"reason": reason})


async def test_pods_of_one_owner_are_told_of_once_and_counted_each(cluster: Cluster) -> None:
    for name in ("web-1", "web-2", "web-3"):
        await cluster.make(name, {REV: "canry"})
    await cluster.make("other-1", {REV: "canry"}, owner="other")
    await cluster.settle()
    assert sorted(cluster.owners()) == ["other", "web"]
    assert all(one.warning for one in cluster.told)
    assert "istio.io/rev=canry is heard by nobody" in cluster.told[0].text
    assert _count("UnknownRevision") == 4
    await cluster.make("web-4", {REV: "canry"})
    for name in ("web-1", "web-2", "other-1"):
        await cluster.remove(name)
    await cluster.settle()
    assert len(cluster.told) == 2
    assert _count("UnknownRevision") == 2


async def test_pods_that_somebody_serves_or_that_have_a_proxy_are_not_told_of(
    cluster: Cluster,
) -> None:
    cluster.configurations.append(configuration(Target(revision="theirs", service="theirs")))
    await cluster.make("theirs", {REV: "theirs"})
    await cluster.make("ours", {REV: "default"})
    await cluster.make("by-hand", {REV: "canry"}, annotations={words.STATUS: "{}"})
    await cluster.settle()
    assert cluster.told == []
    assert not _count("UnknownRevision")


async def test_a_choice_is_no_warning_and_told_of_by_whoever_would_be_asked(
    cluster: Cluster,
) -> None:
    cluster.configurations.append(configuration(Target(revision="theirs", service="theirs")))
    for revision, expected in (("theirs", 0), ("default", 1)):
        cluster.labels["shop"] = {REV: revision}
        cluster.of.note_namespace("shop")
        await cluster.make("web-1", {INJECT: "false"})
        await cluster.settle()
        assert len(cluster.told) == _count("OptedOut") == expected
    assert not cluster.told[0].warning


async def test_a_choice_of_long_ago_is_only_counted(cluster: Cluster) -> None:
    cluster.labels["shop"] = {SWITCH: "enabled"}
    await cluster.make("web-1", {INJECT: "false"}, age=unasked.RECENT_SECONDS + 1)
    await cluster.settle()
    assert cluster.told == []
    assert _count("OptedOut") == 1
    await cluster.make("old", {INJECT: "true", REV: "canry"}, age=unasked.RECENT_SECONDS + 1)
    await cluster.settle()
    assert cluster.told == []  # its namespace has it injected
    cluster.labels["shop"] = {}
    cluster.of.note_namespace("shop")
    await cluster.settle()
    assert len(cluster.told) == 1  # what is wrong stays wrong


async def test_a_tag_that_comes_a_moment_later_is_waited_for(cluster: Cluster) -> None:
    await cluster.make("web-1", {REV: "prod"})
    cluster.configurations.append(configuration(Target(tag="prod")))
    cluster.of.note_configurations()
    await cluster.settle()
    assert cluster.told == []
    cluster.configurations.pop()
    cluster.of.note_configurations()
    await cluster.settle()
    assert cluster.owners() == ["web"]


async def test_what_there_is_no_room_for_is_told_later(cluster: Cluster) -> None:
    cluster.room = False
    await cluster.make("web-1", {REV: "canry"})
    await cluster.settle()
    cluster.room = True
    await cluster.settle()
    assert cluster.owners() == ["web"]
    await cluster.settle()
    assert cluster.owners() == ["web"]


async def test_what_is_too_much_is_passed_over_and_counted(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unasked, "MAX_PODS", 1)
    name = "seine_webhook_pods_passed_over_total"
    before = REGISTRY.get_sample_value(name) or 0
    for pod_name in ("web-1", "web-2"):
        await cluster.make(pod_name, {REV: "canry"}, owner=pod_name)
    await cluster.settle()
    assert cluster.owners() == ["web-1"]
    assert REGISTRY.get_sample_value(name) == before + 1
    await cluster.remove("web-1")
    await cluster.make("web-2", {REV: "canry"}, owner="web-2")
    await cluster.settle()
    assert cluster.owners() == ["web-1", "web-2"]
