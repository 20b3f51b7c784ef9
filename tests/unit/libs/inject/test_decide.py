"""Who is injected, rule by rule, each beside a pod for which the rule says nothing."""

from typing import Any

import pytest

from libs.inject.decide import Rule, decide
from tests.support.pods import injector, pod

LABEL = "sidecar.istio.io/inject"
NEVER = "neverInjectSelector: [{matchLabels: {app: web}}]"
ALWAYS = (
    "{policy: disabled, alwaysInjectSelector: [{matchExpressions: [{key: app, operator: Exists}]}]}"
)

Case = tuple[dict[str, Any], str, str, bool, Rule]

CASES: dict[str, Case] = {
    "nothing is said": ({}, "shop", "", True, Rule.POLICY),
    "disabled by policy": ({}, "shop", "policy: disabled", False, Rule.POLICY),
    "host network": ({"hostNetwork": True}, "shop", "", False, Rule.HOST_NETWORK),
    "no host network": ({"hostNetwork": False}, "shop", "", True, Rule.POLICY),
    "host network, though asked for": (
        {"hostNetwork": True, "labels": {LABEL: "true"}},
        "shop",
        "",
        False,
        Rule.HOST_NETWORK,
    ),
    "kube-system": (
        {"labels": {LABEL: "true"}},
        "kube-system",
        "",
        False,
        Rule.IGNORED_NAMESPACE,
    ),
    "kube-public": ({}, "kube-public", "", False, Rule.IGNORED_NAMESPACE),
    "kube-node-lease": ({}, "kube-node-lease", "", False, Rule.IGNORED_NAMESPACE),
    "local-path-storage": ({}, "local-path-storage", "", False, Rule.IGNORED_NAMESPACE),
    "a namespace of a like name": ({}, "kube-systems", "", True, Rule.POLICY),
    "label false": ({"labels": {LABEL: "false"}}, "shop", "", False, Rule.LABEL),
    "label true beats policy": (
        {"labels": {LABEL: "true"}},
        "shop",
        "policy: disabled",
        True,
        Rule.LABEL,
    ),
    "label true beats never": ({"labels": {LABEL: "true"}}, "shop", NEVER, True, Rule.LABEL),
    "label beats annotation": (
        {"labels": {LABEL: "false"}, "annotations": {LABEL: "true"}},
        "shop",
        "",
        False,
        Rule.LABEL,
    ),
    "annotation false": ({"annotations": {LABEL: "false"}}, "shop", "", False, Rule.ANNOTATION),
    "annotation true beats policy": (
        {"annotations": {LABEL: "true"}},
        "shop",
        "policy: disabled",
        True,
        Rule.ANNOTATION,
    ),
    "a label that is neither": ({"labels": {LABEL: "yes"}}, "shop", "", True, Rule.POLICY),
    "an odd label hides the annotation": (
        {"labels": {LABEL: "True"}, "annotations": {LABEL: "false"}},
        "shop",
        "",
        True,
        Rule.POLICY,
    ),
    "never": ({}, "shop", NEVER, False, Rule.NEVER_SELECTOR),
    "never does not fit": ({"labels": {"app": "other"}}, "shop", NEVER, True, Rule.POLICY),
    "always beats policy": ({}, "shop", ALWAYS, True, Rule.ALWAYS_SELECTOR),
    "never beats always": (
        {},
        "shop",
        f"{{{NEVER}, alwaysInjectSelector: [{{}}]}}",
        False,
        Rule.NEVER_SELECTOR,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_first_rule_that_says_something_decides(name: str) -> None:
    given, namespace, config, inject, rule = CASES[name]
    found = decide(pod(**given), namespace, injector(config))
    assert (found.inject, found.rule) == (inject, rule)
    assert found.text


@pytest.mark.parametrize("value", ["yes", "True", "", "0"])
def test_what_is_neither_true_nor_false_is_named(value: str) -> None:
    found = decide(pod(labels={LABEL: value}), "shop", injector())
    assert repr(value) in found.ignored[0]


def test_a_pod_without_anything_is_decided_too() -> None:
    assert decide({}, "shop", injector()).inject
    assert decide({"metadata": None, "spec": None}, "shop", injector()).inject
