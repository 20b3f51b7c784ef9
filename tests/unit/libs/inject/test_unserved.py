"""Namespaces that ask for an injector that is not there are told from those served."""

from typing import Any

import pytest

from libs.inject import unserved
from libs.inject.unserved import Asks, Reason
from libs.inject.webhooks import Target, configuration

OURS = configuration(Target())
TAG = configuration(Target(revision="default", tag="prod"))
CANARY = configuration(Target(revision="canary"))
OTHERS: dict[str, Any] = {
    "webhooks": [{"name": "policy.example", "namespaceSelector": {}, "objectSelector": {}}]
}


def _known(*configurations: dict[str, Any]) -> list[Asks]:
    return [one for raw in configurations for one in unserved.asks(raw)]


REV, SWITCH = "istio.io/rev", "istio-injection"


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({}, None),
        ({"team": "a"}, None),
        ({SWITCH: "enabled"}, None),
        ({SWITCH: "disabled"}, None),
        ({SWITCH: "disabled", REV: "canry"}, None),
        ({SWITCH: "enabled", REV: "canry"}, None),
        ({SWITCH: "Enabled"}, Reason.VALUE),
        ({REV: "default"}, None),
        ({REV: "prod"}, None),
        ({REV: "canary"}, Reason.REVISION),
        ({REV: ""}, Reason.REVISION),
    ],
)
def test_namespaces(labels: dict[str, str], reason: Reason | None) -> None:
    found = unserved.of_namespace("shop", labels, _known(OURS, TAG, OTHERS))
    assert (found and found.reason) == reason


def test_what_there_is_is_named() -> None:
    found = unserved.of_namespace("shop", {REV: "canry"}, _known(OURS, TAG))
    assert found is not None
    assert "canry" in found.text
    assert "default, prod" in found.text


def test_another_s_configuration_serves_only_what_it_asks_about() -> None:
    assert unserved.of_namespace("shop", {REV: "canary"}, _known(CANARY)) is None
    found = unserved.of_namespace("shop", {SWITCH: "enabled"}, _known(CANARY, OTHERS))
    assert found is not None
    assert found.reason is Reason.DEFAULT


def test_what_is_left_out_by_name_is_left_out_on_purpose() -> None:
    for name in ("kube-system", "istio-system"):
        assert unserved.of_namespace(name, {SWITCH: "enabled"}, _known(OURS)) is None
