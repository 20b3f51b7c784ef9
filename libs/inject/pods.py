"""Pods: the entry for one pod. `inject` gives back the pod with its proxy, or why it is refused.

The steps: take an earlier injection out; read what the pod wishes; lay the templates over the pod;
lay containers that the pod declared itself over those; send probes and scrapers to the agent; put
containers in order; note what was done.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from libs.api import reasons
from libs.api.problem import Problem, Severity
from libs.api.report import Report
from libs.api.validate.proxy_defaults import read_annotation
from libs.inject import annotations, openshift, overlay, record
from libs.inject.annotations import Wishes
from libs.inject.assembly import assembled
from libs.inject.owner import Owner, owner_of
from libs.inject.scene import Cluster, NamespaceFacts, Scene, Settings, proxy_defaults
from libs.model.ids import ref


class Injected(Struct, frozen=True):
    """The pod with its proxy, or None and the problems for which it is refused."""

    pod: dict[str, Any] | None
    problems: tuple[Problem, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Why there is no pod."""
        return tuple(one for one in self.problems if one.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is hardly as meant."""
        return tuple(one for one in self.problems if one.severity is Severity.WARNING)


class Asked(Struct, frozen=True, kw_only=True):
    """One pod to be injected.

    `pod` is JSON data of a Pod or of a pod template. `owner` is what made it, if that is known
    better than the pod itself says. `variables` are what the path of the webhook asks for.
    """

    pod: Mapping[str, Any]
    namespace: NamespaceFacts
    owner: Owner | None = None
    variables: Mapping[str, str] = {}


def inject(asked: Asked, cluster: Cluster, settings: Settings) -> Injected:
    """Return the pod injected, whatever `decide` would say. What was asked is not changed."""
    pod = record.original(asked.pod, overlay.own_containers(settings.config))
    if openshift.USERS in asked.namespace.annotations:
        pod = openshift.without_shared_user(pod)
    metadata = pod.get("metadata") or {}
    name = metadata.get("name") or metadata.get("generateName") or ""
    report = Report(ref("Pod", asked.namespace.name, name))
    found = _scene(asked, pod, report, cluster=cluster, settings=settings)
    after = assembled(found, report)
    failed = any(one.severity is Severity.ERROR for one in report.problems)
    return Injected(None if failed else after, tuple(report.problems))


def _scene(
    asked: Asked, pod: dict[str, Any], report: Report, *, cluster: Cluster, settings: Settings
) -> Scene:
    written = (pod.get("metadata") or {}).get("annotations") or {}
    wishes = annotations.read(written, report)
    _judge_config(written, report)
    _judge_ranges(asked.namespace, report)
    return Scene(
        pod=pod,
        namespace=asked.namespace,
        cluster=cluster,
        settings=settings,
        wishes=wishes,
        owner=asked.owner or owner_of(pod),
        proxy=proxy_defaults(
            pod, asked.namespace.name, settings=settings, wishes=wishes, cluster=cluster
        ),
        native=_native(wishes, cluster),
        identity=openshift.identity(asked.namespace.annotations),
        variables=asked.variables,
    )


def _judge_ranges(namespace: NamespaceFacts, report: Report) -> None:
    for name in openshift.unreadable(namespace.annotations):
        text = f"{name} of the namespace is no range of numbers: the proxy runs as 1337"
        report.warning("", reasons.INVALID_ANNOTATION, text)


def _judge_config(written: Mapping[str, str], report: Report) -> None:
    found = Report(report.ref)
    read_annotation(written, found)
    for problem in found.problems:
        report.error(problem.path, problem.reason, problem.text)


def _native(wishes: Wishes, cluster: Cluster) -> bool:
    return cluster.native_sidecars if wishes.native is None else wishes.native
