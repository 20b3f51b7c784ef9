"""Annotations: Istio's that are unknown, in the wrong place, wrong, outdated or not settled yet."""

from collections.abc import Iterator, Mapping

from libs.api import reasons
from libs.api.path import join
from libs.api.problem import Problem, Severity
from libs.api.report import Report
from libs.api.validate.proxy_defaults import read_annotation
from libs.inject import annotations, words
from libs.inject.analysis.known_annotations import ANY, KNOWN, Known, Stage
from libs.inject.analysis.subject import Subject
from libs.inject.without_effect import WHY

_ISTIO = "istio.io"
_INGRESS_CLASS = "kubernetes.io/ingress.class"
_PATH = "metadata.annotations"
_POD = "Pod"
_WARNING = Severity.WARNING


def judged(subject: Subject) -> Iterator[Problem]:
    """Yield what is wrong with the annotations of a document, and of the pods that it makes."""
    yield from _named(subject, subject.annotations, subject.labels, kind=subject.kind, place=_PATH)
    if subject.pod is not None:
        if subject.place:
            own, place = subject.pod_annotations, subject.below(_PATH)
            yield from _named(subject, own, subject.pod_labels, kind=_POD, place=place)
        yield from _read(subject)


def _named(
    subject: Subject,
    written: Mapping[str, str],
    labels: Mapping[str, str],
    *,
    kind: str,
    place: str,
) -> Iterator[Problem]:
    idle = {} if kind == _POD else WHY.get(kind, {})  # of a pod's injection speaks
    for name in sorted(filter(_is_istio, written)):
        if name in idle:
            yield Problem(subject.ref, join(place, name), reasons.NO_EFFECT, idle[name], _WARNING)
        reason, text = _of(name, kind, has_label=words.INJECT in labels)
        if reason:
            yield Problem(subject.ref, join(place, name), reason, text, _WARNING)


def _is_istio(name: str) -> bool:
    domain, slash, _ = name.partition("/")
    return name == _INGRESS_CLASS or bool(slash and f".{domain}".endswith(f".{_ISTIO}"))


def _of(name: str, kind: str, *, has_label: bool) -> tuple[str, str]:
    """Return the reason and the text of what is to be said of a name, or twice nothing."""
    known = KNOWN.get(name)
    if known is None:
        return reasons.UNKNOWN_ANNOTATION, "Istio has no such annotation"
    if known.kinds != ANY and kind not in known.kinds:
        return reasons.MISPLACED_ANNOTATION, _where(known, kind)
    if known.stage is Stage.DEPRECATED and not (name == words.INJECT and has_label):
        return reasons.DEPRECATED_ANNOTATION, f"use {known.instead}"
    if known.stage is Stage.ALPHA:
        return reasons.ALPHA_ANNOTATION, "Istio may still change what it means"
    return "", ""


def _where(known: Known, kind: str) -> str:
    kinds = " or ".join(sorted(known.kinds))
    hint = "; that of a template is its metadata.annotations" if known.kinds == {_POD} else ""
    return f"has no effect on a {kind}: it belongs on a {kinds}{hint}"


def _read(subject: Subject) -> Iterator[Problem]:
    """What injection says of the values. It goes by pods, so its paths begin there.

    The settings of a Pod's proxy are judged with the Pod itself.
    """
    report = Report(subject.ref)
    annotations.read(subject.pod_annotations, report)
    if subject.place:
        read_annotation(subject.pod_annotations, report)
    for it in report.problems:
        path = subject.below(it.path)
        yield Problem(it.ref, path, it.reason, it.text, it.severity)
