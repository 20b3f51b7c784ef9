"""Namespaces: whether anybody said that their pods get proxies, and said it once."""

from collections.abc import Iterator

from libs.api import reasons
from libs.api.problem import Problem, Severity
from libs.inject import webhooks, words
from libs.inject.analysis.scenery import Scenery

_LABELS = "metadata.labels"
_AMBIENT = "istio.io/dataplane-mode"
_SWITCHES = frozenset({words.NAMESPACE_SWITCH, words.REVISION, _AMBIENT})


def labels(seen: Scenery) -> Iterator[Problem]:
    """Yield namespaces whose labels contradict each other."""
    for one in seen.namespaces.values():
        if text := webhooks.both_labels(one.labels):
            reason, severity = reasons.CONFLICTING_LABELS, Severity.WARNING
            yield Problem(one.ref, _LABELS, reason, text, severity)


def injection(seen: Scenery) -> Iterator[Problem]:
    """Yield namespaces of which nobody said whether their pods get proxies."""
    apart = {*words.IGNORED_NAMESPACES, seen.root}
    for one in seen.namespaces.values():
        if one.name in apart or one.labels.keys() & _SWITCHES:
            continue
        found = webhooks.matches(
            seen.configurations, namespace=one.name, namespace_labels=one.labels, pod_labels={}
        )
        if asked := [it.webhook for it in found if it.asked]:
            reason = reasons.INJECTED_BY_DEFAULT
            text = f"pods get proxies, because {asked[0]} is for every namespace without a label"
        else:
            reason = reasons.NAMESPACE_NOT_INJECTED
            text = f"pods get no proxies: label it {words.NAMESPACE_SWITCH}=enabled, or =disabled"
        yield Problem(one.ref, _LABELS, reason, text, Severity.WARNING)
