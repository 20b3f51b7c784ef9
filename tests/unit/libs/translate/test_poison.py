"""An object on which a rule of ours crashes holds up nobody else, whichever rule that is."""

from typing import NoReturn

import pytest
from msgspec.structs import replace

from libs.api import reasons
from libs.api.resource import Metadata, Resource
from libs.model.settings import MeshSettings
from libs.translate import apply as applying
from libs.translate.apply import Remove, State, Upsert, apply, initial
from libs.translate.rules import RULES, Rule
from libs.translate.state import Derived
from libs.translate.view import View
from tests.support.resources import resources

WORLD = """
apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: ns}
spec: {ports: [{name: http, port: 80}], selector: {app: NAME}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: NAME, namespace: ns}
spec: {hosts: [NAME], http: [{route: [{destination: {host: NAME}}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: NAME, namespace: ns}
spec: {host: NAME}
---
apiVersion: v1
kind: Pod
metadata: {name: NAME, namespace: ns, labels: {app: NAME}}
status: {podIP: 10.0.0.1, conditions: [{type: Ready, status: "True"}]}
"""


class BugError(Exception):
    """Nobody thought of this."""


def _poisoned(rule: Rule) -> Rule:
    def derive(view: View, resource: Resource) -> Derived:
        if resource.metadata.name == "poison":
            _crash()
        found: Derived = rule.derive(view, resource)
        return found

    return rule._replace(derive=derive)


def _crash() -> NoReturn:
    raise BugError("unforeseen " + "x" * 1000)


def _events(name: str, version: str = "1") -> list[Upsert]:
    found = resources(WORLD.replace("NAME", name))
    return [Upsert(_labelled(it, version)) for it in found]


def _labelled(resource: Resource, version: str) -> Resource:
    labels = {**resource.metadata.labels, "v": version}
    metadata: Metadata = replace(resource.metadata, labels=labels)
    return replace(resource, metadata=metadata)


@pytest.fixture
def healthy() -> State:
    """A world in which everything was well once."""
    return apply(initial(MeshSettings()), [*_events("poison"), *_events("well")]).state


@pytest.mark.parametrize("name", [rule.name for rule in RULES])
def test_each_rule_may_crash_on_one_object(
    name: str, healthy: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = tuple(_poisoned(rule) if rule.name == name else rule for rule in RULES)
    monkeypatch.setattr(applying, "RULES", rules)
    step = apply(healthy, [*_events("poison", "2"), *_events("well", "2"), *_events("new")])

    tables = healthy.mesh.tables
    lost = [
        key for table in tables for key in tables[table] if key not in step.state.mesh.rows(table)
    ]
    assert lost == []  # the last good state stays
    assert "ns/new.ns.svc.cluster.local" in step.state.mesh.services
    assert step.state.mesh.services["ns/well.ns.svc.cluster.local"].labels["v"] == "2"
    kind = next(rule.kind.__name__ for rule in RULES if rule.name == name)
    said = [it for it in step.problems if it.reason == reasons.INTERNAL_ERROR]
    known = {"Service", "VirtualService", "DestinationRule", "Pod"}
    assert {it.ref for it in said} == ({f"{kind}/ns/poison"} if kind in known else set())
    assert all("BugError at test_poison.py:" in it.text and len(it.text) < 500 for it in said)

    monkeypatch.setattr(applying, "RULES", RULES)  # the bug is mended, and the object written again
    mended = apply(step.state, _events("poison", "3"))
    assert not [it for it in mended.problems if it.reason == reasons.INTERNAL_ERROR]


def test_what_crashed_can_go(healthy: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "RULES", tuple(map(_poisoned, RULES)))
    events = _events("poison", "2")
    broken = apply(healthy, events)
    gone = apply(broken.state, [Remove(event.ref) for event in events])
    assert not gone.problems
    assert "ns/poison.ns.svc.cluster.local" not in gone.state.mesh.services
