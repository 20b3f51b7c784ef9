"""Subject: one document as this analysis sees it, whether from a file or from a running mesh."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from libs.api import registry
from libs.api.identity import identify
from libs.api.kubernetes import Pod
from libs.api.resource import Resource
from libs.inject import shape, words
from libs.inject.manifests import path_of_pod, pod_of
from libs.model.ids import Ref, ref

_CLUSTER_SCOPED = frozenset(
    {
        "CustomResourceDefinition",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    }
)


JUDGED = tuple(
    kind.name
    for kind in registry.KINDS
    if kind.struct and kind.name not in {"EndpointSlice", "Secret", "Node", "ConfigMap"}
)
"""Kinds of a running mesh that the analysis looks at: others have no annotations of Istio's."""


class Subject(Struct, frozen=True, kw_only=True):
    """A document, and the pod that it is or makes; `place` is the path of that pod in it.

    `exists` says that the pod is one that runs: nobody will inject it any more.
    """

    ref: Ref
    kind: str
    namespace: str
    name: str
    raw: Mapping[str, Any]
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    pod: Mapping[str, Any] | None = None
    place: str = ""
    exists: bool = False

    @property
    def pod_labels(self) -> Mapping[str, str]:
        """The labels of its pods."""
        return _texts(_mapping(self.pod, "metadata").get("labels"))

    @property
    def pod_annotations(self) -> Mapping[str, str]:
        """The annotations of its pods."""
        return _texts(_mapping(self.pod, "metadata").get("annotations"))

    @property
    def spec(self) -> Mapping[str, Any]:
        """The spec of its pods."""
        return _mapping(self.pod, "spec")

    def containers(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the containers of its pods, each with its path."""
        return [
            (self.below(f"spec.{field}[{index}]"), one)
            for field in ("initContainers", "containers")
            for index, one in enumerate(self.spec.get(field) or ())
        ]

    def below(self, path: str) -> str:
        """Return the path in the document of a path in its pod."""
        return f"{self.place}.{path}" if self.place else path


def of_document(raw: Mapping[str, Any]) -> Subject | None:
    """Return the subject that a document is; None if nothing can be said of it."""
    found = identify(raw)
    metadata = _mapping(raw, "metadata")
    if not found.ref or not metadata:
        return None
    namespace = "" if found.kind in _CLUSTER_SCOPED else found.namespace
    pod = pod_of(raw)
    good = pod is not None and not shape.wrong(pod)
    return Subject(
        ref=ref(found.kind, namespace, found.name) if not namespace else found.ref,
        kind=found.kind,
        namespace=namespace,
        name=found.name,
        raw=raw,
        labels=_texts(metadata.get("labels")),
        annotations=_texts(metadata.get("annotations")),
        pod=pod if good else None,
        place=".".join(path_of_pod(found.kind)),
        exists=bool(metadata.get("uid")) or bool(_mapping(raw, "status").get("podIP")),
    )


def of_resource(resource: Resource) -> Subject:
    """Return the subject that a resource of a running mesh is; of a pod's spec little is known."""
    metadata, kind = resource.metadata, type(resource).__name__
    head = {
        "name": metadata.name,
        "namespace": metadata.namespace,
        "labels": metadata.labels,
        "annotations": metadata.annotations,
    }
    pod: dict[str, Any] | None = None
    if isinstance(resource, Pod):
        pod = {"metadata": head, "spec": {"hostNetwork": resource.spec.host_network}}
    return Subject(
        ref=resource.ref,
        kind=kind,
        namespace=metadata.namespace,
        name=metadata.name,
        raw={"apiVersion": registry.BY_TYPE[type(resource)].api_versions[0], "kind": kind},
        labels=metadata.labels,
        annotations=metadata.annotations,
        pod=pod,
        exists=True,
    )


def has_proxy(subject: Subject) -> bool:
    """Tell whether its pods have a proxy: written there, injected, or run beside them."""
    return (
        words.STATUS in subject.pod_annotations
        or subject.pod_labels.get(words.TLS_MODE) == "istio"
        or any(one.get("name") == words.PROXY for _, one in subject.containers())
    )


def _mapping(raw: Mapping[str, Any] | None, key: str) -> Mapping[str, Any]:
    found = raw.get(key) if raw is not None else None
    return found if isinstance(found, Mapping) else {}


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    return {key: text for key, text in value.items() if isinstance(text, str)}
