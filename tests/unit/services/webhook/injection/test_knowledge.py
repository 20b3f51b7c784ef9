"""What users set for proxies is known as soon as it is told, and mistakes leave the last good."""

import json
from typing import Any

from msgspec import Raw

from libs.inject import openshift
from libs.inject.config import Policy
from libs.kube.follow import Change
from libs.kube.list import Name
from services.webhook.injection.knowledge import Knowledge

SYSTEM = "istio-system"


def _change(namespace: str, name: str, raw: dict[str, Any] | None) -> Change:
    metadata = {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"}
    if namespace:
        metadata["namespace"] = namespace
    given = (
        {**raw, "metadata": {**metadata, **raw.get("metadata", {})}} if raw is not None else None
    )
    content = None if given is None else Raw(json.dumps(given).encode())
    return Change(Name(namespace, name), content)


class Told:
    """Knowledge, and what was odd."""

    def __init__(self, revision: str = "default") -> None:
        self.odd: list[str] = []
        self.of = Knowledge(SYSTEM, revision, lambda name, _: self.odd.append(name))
        self.sinks = {collection.name: sink for collection, sink in self.of.sources}
        self.fields = [collection.field_selector for collection, _ in self.of.sources]

    async def text(self, which: int, key: str, text: str | None) -> None:
        raw = None if text is None else {"data": {key: text}}
        await self.of.sources[which][1]([_change(SYSTEM, "x", raw)])

    async def space(self, name: str, labels: dict[str, str] | None) -> None:
        raw = None if labels is None else {"metadata": {"labels": labels}}
        await self.sinks["namespaces"]([_change("", name, raw)])


async def test_the_mesh_s_settings() -> None:
    told = Told()
    await told.text(2, "mesh", "trustDomain: example.org")
    assert told.of.settings.mesh.trust_domain == "example.org"
    await told.text(2, "mesh", "trustDomain: [")
    assert told.of.settings.mesh.trust_domain == "example.org"
    await told.text(2, "mesh", None)
    assert told.of.settings.mesh.trust_domain is None


async def test_settings_of_a_revision_lie_above_those_that_revisions_share() -> None:
    of = Knowledge(SYSTEM, "canary", lambda *_: None, shared_mesh_config="shared")
    fields = [collection.field_selector for collection, _ in of.sources]
    assert fields[2:4] == ["metadata.name=istio-canary", "metadata.name=shared"]
    take = of.sources[2][1]

    async def say(name: str, text: str | None) -> str | None:
        raw = None if text is None else {"data": {"mesh": text}}
        await take([_change(SYSTEM, name, raw)])
        return of.settings.mesh.trust_domain

    assert await say("shared", "trustDomain: shared.example") == "shared.example"
    assert await say("istio-canary", "trustDomain: own.example") == "own.example"
    assert await say("shared", "trustDomain: [") == "own.example"
    assert await say("istio-canary", None) == "shared.example"
    assert await say("shared", None) is None


async def test_the_injector_s_settings() -> None:
    told = Told()
    await told.text(3, "config", "policy: disabled")
    assert told.of.settings.config.policy is Policy.DISABLED
    await told.text(3, "config", "policy: perhaps")
    assert told.of.settings.config.policy is Policy.DISABLED
    assert told.of.settings.config.refused == {}
    await told.text(3, "config", "policy: enabled\ntemplates: {x: '{{ range .X }}'}")
    assert told.of.settings.config.policy is Policy.DISABLED
    assert "write the entries out" in told.of.settings.config.refused["x"]
    await told.text(3, "config", None)
    assert told.of.settings.config.policy is Policy.ENABLED


async def test_of_settings_that_were_wrong_from_the_beginning_what_can_be_read_counts() -> None:
    told = Told()
    await told.text(3, "config", "policy: disabled\ntemplates: {x: '{{ range .X }}'}")
    assert told.of.settings.config.policy is Policy.DISABLED
    assert told.of.settings.config.templates == {}


async def test_proxy_configs() -> None:
    told = Told()
    raw = {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "ProxyConfig",
        "spec": {"concurrency": 3},
    }
    sink = told.sinks["proxyconfigs.networking.istio.io"]
    await sink([_change("shop", "p", raw)])
    assert [one.spec.concurrency for one in told.of.settings.proxy_configs] == [3]
    await sink([_change("shop", "p", {**raw, "spec": {"concurrency": -3}})])
    assert [one.spec.concurrency for one in told.of.settings.proxy_configs] == [3]
    await sink([_change("shop", "p", None)])
    assert told.of.settings.proxy_configs == ()


async def test_labels_of_namespaces() -> None:
    told = Told()
    await told.space("shop", {"a": "b"})
    assert told.of.namespace("shop").labels == {"a": "b"}
    assert told.of.namespace("new").labels == {}
    await told.space(SYSTEM, {"topology.istio.io/network": "vpc"})
    assert told.of.network == "vpc"
    await told.space("shop", None)
    assert told.of.namespace("shop").labels == {}


async def test_ranges_of_openshift_s_namespaces_are_kept_and_no_other_annotation() -> None:
    told = Told()
    ranges = {openshift.USERS: "7/2", openshift.GROUPS: "9/1"}
    for written in (ranges | {"else": "long"}, ranges, {}):
        raw = {"metadata": {"annotations": written}}
        await told.sinks["namespaces"]([_change("", "shop", raw)])
        assert told.of.namespace("shop").annotations == (ranges if written else {})
    await told.sinks["namespaces"]([_change("", "shop", {"metadata": {"annotations": ranges}})])
    await told.sinks["namespaces"]([_change("", "shop", None)])
    assert told.of.namespace("shop").annotations == {}


async def test_a_contradiction_is_told_once_until_it_is_gone() -> None:
    told = Told()
    both = {"istio-injection": "enabled", "istio.io/rev": "canary"}
    for labels in (both, both, {"istio.io/rev": "canary"}, both):
        await told.space("shop", labels)
    assert told.odd == ["shop", "shop"]


def test_a_revision_has_its_own_texts() -> None:
    assert Told("canary").fields[2:] == [
        "metadata.name=istio-canary",
        "metadata.name=istio-sidecar-injector-canary",
    ]
