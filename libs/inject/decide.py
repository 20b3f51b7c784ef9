"""Decide: whether a pod is injected, and by which rule, once the injector is asked about it.

The rules stand in Istio's order, and the first that says something decides. Which pods an API
server asks about at all is decided before, by the selectors in `webhooks`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from libs.api.label_selectors import matches
from libs.inject import words
from libs.inject.config import InjectorConfig, Policy


class Rule(StrEnum):
    """What decided. The values are labels of a metric and reasons of events."""

    HOST_NETWORK = "HostNetwork"
    IGNORED_NAMESPACE = "IgnoredNamespace"
    LABEL = "PodLabel"
    ANNOTATION = "PodAnnotation"
    NEVER_SELECTOR = "NeverInjectSelector"
    ALWAYS_SELECTOR = "AlwaysInjectSelector"
    POLICY = "Policy"


class Decision(Struct, frozen=True):
    """Whether to inject, what decided so, and that in words; `ignored` is what was not heeded."""

    inject: bool
    rule: Rule
    text: str
    ignored: tuple[str, ...] = ()


def decide(pod: Mapping[str, Any], namespace: str, config: InjectorConfig) -> Decision:
    """Return whether to inject a pod of `namespace`."""
    metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    if spec.get("hostNetwork"):
        text = "the pod uses the network of its node, whose traffic must not be intercepted"
        return Decision(False, Rule.HOST_NETWORK, text)
    if namespace in words.IGNORED_NAMESPACES:
        text = f"nothing is ever injected in {namespace}"
        return Decision(False, Rule.IGNORED_NAMESPACE, text)
    rule = Rule.LABEL if words.INJECT in labels else Rule.ANNOTATION
    switch = labels.get(words.INJECT, annotations.get(words.INJECT))
    if switch in {"true", "false"}:
        where = "label" if rule is Rule.LABEL else "annotation"
        return Decision(switch == "true", rule, f"the pod's {where} {words.INJECT} is {switch}")
    return _by_config(labels, config, _ignored(switch))


def _ignored(switch: str | None) -> tuple[str, ...]:
    if switch is None:
        return ()
    return (f"{words.INJECT}: {switch[:63]!r} is neither true nor false, and is ignored",)


def _by_config(
    labels: Mapping[str, str], config: InjectorConfig, ignored: tuple[str, ...]
) -> Decision:
    if any(matches(one, labels) for one in config.never):
        text = "a selector of neverInjectSelector fits the pod's labels"
        return Decision(False, Rule.NEVER_SELECTOR, text, ignored)
    if any(matches(one, labels) for one in config.always):
        text = "a selector of alwaysInjectSelector fits the pod's labels"
        return Decision(True, Rule.ALWAYS_SELECTOR, text, ignored)
    text = f"the injector's policy is {config.policy}"
    return Decision(config.policy is Policy.ENABLED, Rule.POLICY, text, ignored)
