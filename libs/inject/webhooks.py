"""Webhooks: about which pods an API server asks the injector, as data.

The selectors are Istio's, but that no webhook ever fits pods in Kubernetes' namespaces, nor those
of the control plane's own that do not ask for a proxy by name, as gateways do there: a control
plane that is down must be able to come up again, and what a cluster itself runs on must not depend
on us. `failurePolicy: Fail` is safe only because of that.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from libs.api import label_selectors
from libs.api.mesh_parts import LabelSelector, Requirement
from libs.api.path import Path
from libs.api.readers import reader_of
from libs.api.report import Report
from libs.inject import words
from libs.model.ids import Ref

NAME = "istio-sidecar-injector"
SUFFIX = "sidecar-injector.istio.io"
APP_LABEL = "sidecar-injector"
API_VERSION = "admissionregistration.k8s.io/v1"
KIND = "MutatingWebhookConfiguration"
TIMEOUT_SECONDS = 10
_NAME_LABEL = "kubernetes.io/metadata.name"


class Target(Struct, frozen=True, kw_only=True):
    """Where the injector is, and for whom it speaks."""

    revision: str = "default"
    system_namespace: str = "istio-system"
    service: str = "istiod"
    port: int = 443
    path: str = "/inject"
    tag: str = ""
    """A tag: another name under which namespaces ask for the revision."""
    namespaces_by_default: bool = False
    """Also inject namespaces that carry no label at all."""
    reinvocation: str = "Never"


def configuration(target: Target, authorities: str = "") -> dict[str, Any]:
    """Return the MutatingWebhookConfiguration; `authorities` is its caBundle, base64 of PEM."""
    asked_for = target.tag or target.revision
    metadata: dict[str, Any] = {
        "name": f"istio-revision-tag-{target.tag}" if target.tag else _name(target),
        "labels": {"app": APP_LABEL, words.REVISION: target.revision},
    }
    if target.tag:
        metadata["labels"]["istio.io/tag"] = target.tag
    rows = _revision_rows(asked_for, target.system_namespace)
    if asked_for == "default":
        rows += _default_rows(target)
    webhooks = [_webhook(target, row, authorities) for row in rows]
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "webhooks": webhooks}


def _name(target: Target) -> str:
    name = NAME if target.revision == "default" else f"{NAME}-{target.revision}"
    at_home = target.system_namespace == "istio-system"
    return name if at_home else f"{name}-{target.system_namespace}"


class _Row(Struct, frozen=True):
    prefix: str
    namespace: tuple[Requirement, ...]
    pod: tuple[Requirement, ...]
    by_name: bool = False  # only pods that ask by name are meant


def _is(key: str, *values: str) -> Requirement:
    return Requirement(key, "In", values)


def _is_not(key: str, *values: str) -> Requirement:
    return Requirement(key, "NotIn", values)


def _absent(key: str) -> Requirement:
    return Requirement(key, "DoesNotExist")


_SWITCH_ABSENT = _absent(words.NAMESPACE_SWITCH)
_REVISION_ABSENT = _absent(words.REVISION)
_NOT_REFUSED = _is_not(words.INJECT, "false")


def _revision_rows(revision: str, home: str) -> list[_Row]:
    return [
        _Row(
            "rev.namespace.",
            (_is(words.REVISION, revision), _SWITCH_ABSENT),
            (_NOT_REFUSED,),
        ),
        _Row(
            "rev.object.",
            (_REVISION_ABSENT, _SWITCH_ABSENT),
            (_NOT_REFUSED, _is(words.REVISION, revision)),
        ),
        _Row(
            "rev.gateway.",
            (_REVISION_ABSENT, _SWITCH_ABSENT, _is(_NAME_LABEL, home)),
            (_is(words.INJECT, "true"), _is(words.REVISION, revision)),
            by_name=True,
        ),
    ]


def _default_rows(target: Target) -> list[_Row]:
    rows = [
        _Row("namespace.", (_is(words.NAMESPACE_SWITCH, "enabled"),), (_NOT_REFUSED,)),
        _Row(
            "object.",
            (_SWITCH_ABSENT, _REVISION_ABSENT),
            (_is(words.INJECT, "true"), _REVISION_ABSENT),
            by_name=True,
        ),
    ]
    if target.namespaces_by_default:
        both = (_SWITCH_ABSENT, _REVISION_ABSENT)
        rows.append(_Row("auto.", both, (_absent(words.INJECT), _REVISION_ABSENT)))
    return rows


def _webhook(target: Target, row: _Row, authorities: str) -> dict[str, Any]:
    home = target.system_namespace
    service = {
        "name": target.service,
        "namespace": home,
        "path": target.path,
        "port": target.port,
    }
    apart = words.IGNORED_NAMESPACES if row.by_name else {*words.IGNORED_NAMESPACES, home}
    namespaces = (*row.namespace, _is_not(_NAME_LABEL, *sorted(apart)))
    return {
        "name": row.prefix + SUFFIX,
        "clientConfig": {"service": service} | ({"caBundle": authorities} if authorities else {}),
        "rules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
                "scope": "*",
            }
        ],
        "namespaceSelector": {"matchExpressions": [_written(one) for one in namespaces]},
        "objectSelector": {"matchExpressions": [_written(one) for one in row.pod]},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "reinvocationPolicy": target.reinvocation,
        "timeoutSeconds": TIMEOUT_SECONDS,
    }


def _written(one: Requirement) -> dict[str, Any]:
    values = {"values": list(one.values)} if one.values else {}
    return {"key": one.key, "operator": one.operator, **values}


class Match(Struct, frozen=True, kw_only=True):
    """Whether one webhook of a configuration is asked about a pod."""

    configuration: str
    webhook: str
    revision: str
    namespace_fits: bool
    pod_fits: bool

    @property
    def asked(self) -> bool:
        """Whether both selectors fit."""
        return self.namespace_fits and self.pod_fits


def matches(
    configurations: Sequence[Mapping[str, Any]],
    *,
    namespace: str,
    namespace_labels: Mapping[str, str],
    pod_labels: Mapping[str, str],
) -> list[Match]:
    """Return what each webhook of injectors' configurations does with a pod, as an API server."""
    seen = {_NAME_LABEL: namespace, **namespace_labels}
    found = []
    for one in configurations:
        metadata = one.get("metadata") or {}
        labels = metadata.get("labels") or {}
        found += [
            Match(
                configuration=str(metadata.get("name", "")),
                webhook=str(webhook.get("name", "")),
                revision=labels.get("istio.io/tag") or labels.get(words.REVISION, "default"),
                namespace_fits=_fits(webhook.get("namespaceSelector"), seen),
                pod_fits=_fits(webhook.get("objectSelector"), pod_labels),
            )
            for webhook in one.get("webhooks") or ()
        ]
    return found


def _fits(selector: object, labels: Mapping[str, str]) -> bool:
    path: Path = None
    found = reader_of(LabelSelector)(selector or {}, path, Report(Ref("")))
    return isinstance(found, LabelSelector) and label_selectors.matches(found, labels)


def both_labels(labels: Mapping[str, str]) -> str:
    """Return what is odd about a namespace with both labels, or an empty text."""
    switch, revision = labels.get(words.NAMESPACE_SWITCH), labels.get(words.REVISION)
    if switch is None or revision is None:
        return ""
    outcome = "is injected by the default revision" if switch == "enabled" else "is not injected"
    return (
        f"labels {words.NAMESPACE_SWITCH}={switch[:63]} and {words.REVISION}={revision[:63]} "
        f"contradict each other: the first counts, so the namespace {outcome}"
    )
