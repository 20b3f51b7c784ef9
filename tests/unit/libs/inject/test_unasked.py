"""Pods about which nobody is asked are told from those that somebody hears of."""

from typing import Any

import pytest

from libs.inject import unasked, unserved, words
from libs.inject.scene import NamespaceFacts
from libs.inject.unasked import Reason, Unasked
from libs.inject.unserved import Asks
from libs.inject.webhooks import Target, configuration, matches

REV, SWITCH, INJECT = words.REVISION, words.NAMESPACE_SWITCH, words.INJECT
OURS = configuration(Target(service="ours"))
TAG = configuration(Target(tag="prod", service="ours"))
THEIRS = configuration(Target(revision="theirs", service="theirs"))
NARROW: dict[str, Any] = {
    "webhooks": [
        {
            "name": "narrow.example",
            "namespaceSelector": {"matchLabels": {"team": "a"}},
            "objectSelector": {"matchLabels": {REV: "narrow"}},
        }
    ]
}
ALL = (OURS, TAG, THEIRS, NARROW)


def _why(
    pod: dict[str, str], namespace: dict[str, str], *known: dict[str, Any], name: str = "shop"
) -> Unasked | None:
    asks: list[Asks] = [one for raw in known for one in unserved.asks(raw)]
    return unasked.why(pod, NamespaceFacts(name=name, labels=namespace), asks)


@pytest.mark.parametrize(
    ("pod", "namespace", "reason"),
    [
        ({}, {}, None),
        ({"app": "web"}, {SWITCH: "enabled"}, None),
        ({REV: "default"}, {}, None),
        ({REV: "prod"}, {}, None),
        ({REV: "theirs"}, {}, None),
        ({REV: "narrow"}, {}, None),  # somebody has it, and chooses whom to serve
        ({REV: "canry"}, {}, Reason.REVISION),
        ({REV: ""}, {}, Reason.REVISION),
        ({REV: "canry", INJECT: "true"}, {}, Reason.REVISION),
        ({REV: "canry", INJECT: "false"}, {}, None),  # nobody wants it in
        ({REV: "canry"}, {SWITCH: "enabled"}, None),  # its namespace has it injected
        ({REV: "canry"}, {REV: "default"}, None),
        ({REV: "canry"}, {REV: "canary"}, None),  # its namespace is told
        ({INJECT: "true"}, {}, None),
        ({INJECT: "true"}, {SWITCH: "enabled"}, None),
        ({INJECT: "true"}, {SWITCH: "disabled"}, Reason.DISABLED),
        ({REV: "default"}, {SWITCH: "disabled"}, Reason.DISABLED),
        ({INJECT: "yes"}, {}, Reason.VALUE),
        ({INJECT: "yes"}, {SWITCH: "enabled"}, None),
        ({INJECT: "false"}, {}, None),
        ({INJECT: "false"}, {SWITCH: "disabled"}, None),
        ({INJECT: "false"}, {SWITCH: "enabled"}, Reason.OPTED_OUT),
        ({INJECT: "false"}, {REV: "prod"}, Reason.OPTED_OUT),
        ({INJECT: "false", REV: "default"}, {}, Reason.OPTED_OUT),
    ],
)
def test_pods(pod: dict[str, str], namespace: dict[str, str], reason: Reason | None) -> None:
    found = _why(pod, namespace, *ALL)
    assert (found and found.reason) == reason


def test_whoever_would_be_asked_is_named() -> None:
    for revision, service in (("prod", "ours"), ("theirs", "theirs")):
        found = _why({INJECT: "false"}, {REV: revision}, *ALL)
        assert found is not None
        assert found.service == ("istio-system", service)


def test_without_a_default_revision_nobody_hears_a_pod_that_asks() -> None:
    found = _why({INJECT: "true"}, {}, THEIRS)
    assert found is not None
    assert found.reason is Reason.DEFAULT
    assert "theirs" in found.text


def test_what_there_is_is_named() -> None:
    found = _why({REV: "canry"}, {}, OURS, TAG)
    assert found is not None
    assert "istio.io/rev=canry" in found.text
    assert "default, prod" in found.text


@pytest.mark.parametrize("pod", [{INJECT: "true"}, {REV: "canry"}, {INJECT: "false"}])
def test_nobody_expects_proxies_in_kubernetes_own_namespaces(pod: dict[str, str]) -> None:
    assert _why(pod, {SWITCH: "enabled"}, *ALL, name="kube-system") is None


@pytest.mark.parametrize(
    ("pod", "namespace", "reason"),
    [
        ({REV: "canry"}, {}, None),  # part of a control plane
        ({INJECT: "true", REV: "canry"}, {}, Reason.REVISION),
        ({INJECT: "true", REV: "prod"}, {}, None),
        ({INJECT: "true"}, {}, None),
        ({INJECT: "true"}, {SWITCH: "enabled"}, Reason.LEFT_OUT),
        ({INJECT: "false"}, {SWITCH: "enabled"}, None),
    ],
)
def test_in_the_control_plane_s_namespace_gateways_ask(
    pod: dict[str, str], namespace: dict[str, str], reason: Reason | None
) -> None:
    found = _why(pod, namespace, *ALL, name="istio-system")
    assert (found and found.reason) == reason


def test_what_is_said_agrees_with_whom_the_server_asks() -> None:
    """Whoever is asked about is not told of, whatever the labels."""
    values: list[dict[str, str]] = [{}, {REV: "default"}, {REV: "theirs"}, {REV: "canry"}]
    switches = [{}, {INJECT: "true"}, {INJECT: "false"}, {INJECT: "yes"}]
    spaces = [{}, {SWITCH: "enabled"}, {SWITCH: "disabled"}]
    for pod in ({**one, **other} for one in values for other in switches):
        for space in ({**one, **other} for one in values for other in spaces):
            asked = _asked(pod, space)
            assert not (asked and _why(pod, space, *ALL)), (pod, space)


def _asked(pod: dict[str, str], space: dict[str, str]) -> list[str]:
    found = matches(ALL, namespace="shop", namespace_labels=space, pod_labels=pod)
    return [one.webhook for one in found if one.asked]
