"""Unasked: pods whose own labels speak of injection, but about which no API server asks anybody.

Single pods name a revision or tag that nobody serves, ask where their namespace says no, or stay
out of a mesh that their namespace is in. Nobody hears of them when they are created; that is found
out by their labels and the selectors of all webhooks. Pods of a namespace that asks in vain are not
meant: of that the namespace itself is told (`libs.inject.unserved`). Nor are pods without such
labels, or annotations: what those say is judged by the injector, or means nothing.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from libs.api import label_selectors
from libs.inject import unserved, words
from libs.inject.scene import NamespaceFacts
from libs.inject.unserved import NAME_LABEL, Asks, there_are

SYSTEM_NAMESPACE = "istio-system"


class Reason(StrEnum):
    """Why nobody is asked. The values are labels of a metric."""

    OPTED_OUT = "OptedOut"
    DISABLED = "NamespaceDisabled"
    LEFT_OUT = "NamespaceLeftOut"
    REVISION = "UnknownRevision"
    DEFAULT = "NoDefaultRevision"
    VALUE = "UnknownInjectionValue"


class Unasked(Struct, frozen=True):
    """Why nobody is asked about a pod, and that in words."""

    reason: Reason
    wish: str
    """The label's value."""
    text: str
    service: tuple[str, str] = ("", "")
    """Namespace and name of the Service that would be asked, of a pod that has opted out."""


def why(
    labels: Mapping[str, str],
    namespace: NamespaceFacts,
    known: Sequence[Asks],
    *,
    system_namespace: str = SYSTEM_NAMESPACE,
) -> Unasked | None:
    """Return why nobody is asked about a pod that says something of injection.

    None if somebody is asked, if the pod says nothing, or if it would not be asked about anyhow.
    In the control plane's own namespace pods carry `istio.io/rev` to be told apart: there only
    `sidecar.istio.io/inject` asks.
    """
    if not _speaks(labels, namespace.name, system_namespace):
        return None
    if labels.get(words.INJECT) == "false":
        return _opted_out(labels, namespace, known)
    heard = _hearer(labels, namespace, known)
    if heard or unserved.of_namespace(namespace.name, namespace.labels, known):
        return None
    return _unheard(labels, namespace, known)


def _speaks(labels: Mapping[str, str], namespace: str, system_namespace: str) -> bool:
    if namespace in words.IGNORED_NAMESPACES:
        return False
    return words.INJECT in labels or (words.REVISION in labels and namespace != system_namespace)


def _opted_out(
    labels: Mapping[str, str], namespace: NamespaceFacts, known: Sequence[Asks]
) -> Unasked | None:
    silent = {name: value for name, value in labels.items() if name != words.INJECT}
    hearer = _hearer(silent, namespace, known)
    if hearer is None:
        return None
    text = f"{_said(words.INJECT, 'false')} keeps the pod out of the mesh"
    return Unasked(Reason.OPTED_OUT, "false", text, hearer.service)


def _unheard(
    labels: Mapping[str, str], namespace: NamespaceFacts, known: Sequence[Asks]
) -> Unasked | None:
    switch, revision = labels.get(words.INJECT), labels.get(words.REVISION, "")
    wish = revision if switch is None else switch
    said = _said(words.REVISION if switch is None else words.INJECT, wish)
    if namespace.labels.get(words.NAMESPACE_SWITCH) == "disabled":
        text = f"{said} counts for nothing in a namespace with {words.NAMESPACE_SWITCH}=disabled"
        return Unasked(Reason.DISABLED, wish, text)
    if _hearer(labels, NamespaceFacts(name="", labels=namespace.labels), known):
        text = f"{said} is heard by nobody: webhooks leave out {namespace.name} by its name"
        return Unasked(Reason.LEFT_OUT, wish, text)
    if words.REVISION in labels:
        return _unknown_revision(revision, known)
    if wish != "true":
        text = f"{said} is neither 'true' nor 'false', and the namespace does not ask for proxies"
        return Unasked(Reason.VALUE, wish, text)
    return Unasked(Reason.DEFAULT, wish, f"{said} {_heard_by_nobody(known)}")


def _unknown_revision(revision: str, known: Sequence[Asks]) -> Unasked | None:
    """Return that nobody serves a revision; None if it is there, but serves others."""
    if any(revision in one.revisions for one in known):
        return None
    text = f"{_said(words.REVISION, revision)} {_heard_by_nobody(known)}"
    return Unasked(Reason.REVISION, revision, text)


def _heard_by_nobody(known: Sequence[Asks]) -> str:
    return f"is heard by nobody, so the pod is not injected: {there_are(known)}"


def _said(label: str, value: str) -> str:
    return f"the label {label}={value[:63]}"


def _hearer(
    labels: Mapping[str, str], namespace: NamespaceFacts, known: Sequence[Asks]
) -> Asks | None:
    """Return the first that is asked about a pod; without a name of its namespace, if any were."""
    seen = {name: value for name, value in namespace.labels.items() if name != NAME_LABEL}
    if namespace.name:
        seen[NAME_LABEL] = namespace.name
    for one in known:
        fits = label_selectors.matches(one.namespaces, seen)
        if fits and label_selectors.matches(one.pods, labels):
            return one
    return None
