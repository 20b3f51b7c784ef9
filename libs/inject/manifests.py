"""Manifests: whole workloads as users write them, with a proxy in their pod templates.

For files, before they are applied: the same injection as at admission, but for what only a cluster
knows. Documents that make no pods come out as they went in.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from libs.api.problem import Problem
from libs.inject import shape
from libs.inject.decide import Decision, decide
from libs.inject.owner import Owner
from libs.inject.pods import Asked, inject
from libs.inject.scene import Cluster, NamespaceFacts, Settings

_TEMPLATE = ("spec", "template")
_TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "Pod": (),
    "CronJob": ("spec", "jobTemplate", *_TEMPLATE),
    **dict.fromkeys(
        (
            "DaemonSet",
            "Deployment",
            "DeploymentConfig",
            "Job",
            "ReplicaSet",
            "ReplicationController",
            "StatefulSet",
        ),
        _TEMPLATE,
    ),
}


class Outcome(Struct, frozen=True, kw_only=True):
    """A document, injected or not. Without a decision it makes no pods."""

    document: Mapping[str, Any]
    decision: Decision | None = None
    problems: tuple[Problem, ...] = ()
    wrong: str = ""
    """Why it cannot be read as what it says it is."""

    @property
    def refused(self) -> bool:
        """Whether it should have been injected and could not be."""
        return bool(self.wrong) or any(one.severity == "error" for one in self.problems)


def pod_of(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the pod, or the template of pods, in a document; None if it makes no pods."""
    steps = _TEMPLATES.get(str(document.get("kind")))
    if steps is None:
        return None
    at: Any = document
    for step in steps:
        at = at.get(step) if isinstance(at, Mapping) else None
    return at if isinstance(at, Mapping) else None


def path_of_pod(kind: str) -> tuple[str, ...]:
    """Return the fields that lead to the template of pods in a document of a kind."""
    return _TEMPLATES.get(kind, ())


def injected(
    document: Mapping[str, Any],
    *,
    cluster: Cluster,
    settings: Settings,
    namespace: str = "default",
    namespaces: Mapping[str, NamespaceFacts] | None = None,
) -> Outcome:
    """Return a document with the pods that it makes injected; `namespace` is for those without.

    `namespaces` are those of which something is known, by their names.
    """
    pod = pod_of(document)
    if pod is None:
        return Outcome(document=document)
    if wrong := shape.wrong(pod):
        return Outcome(document=document, wrong=wrong)
    metadata = document.get("metadata") or {}
    place = metadata.get("namespace") or namespace
    decision = decide(pod, place, settings.config)
    if not decision.inject:
        return Outcome(document=document, decision=decision)
    facts = (namespaces or {}).get(place) or NamespaceFacts(name=place)
    asked = Asked(pod=pod, namespace=facts, owner=_owner(document))
    done = inject(asked, cluster, settings)
    if done.pod is None:
        return Outcome(document=document, decision=decision, problems=done.problems)
    steps = _TEMPLATES[str(document["kind"])]
    return Outcome(
        document=_put(document, steps, done.pod), decision=decision, problems=done.problems
    )


def _owner(document: Mapping[str, Any]) -> Owner:
    metadata = document.get("metadata") or {}
    name = metadata.get("name") or str(metadata.get("generateName", "")).rstrip("-")
    return Owner(str(name), str(document["kind"]), str(document.get("apiVersion", "")))


def _put(
    document: Mapping[str, Any], steps: tuple[str, ...], value: Mapping[str, Any]
) -> dict[str, Any]:
    if not steps:
        return dict(value)
    first, *rest = steps
    return {**document, first: _put(document[first], tuple(rest), value)}
