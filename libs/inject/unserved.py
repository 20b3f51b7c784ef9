"""Unserved: namespaces that ask for an injector that is not there.

API servers ask nobody about their pods, so no injector ever hears of them: a revision or a tag with
a slip of the pen leaves pods outside of the mesh, and nothing says so. Who is served is read from
the selectors of webhooks, ours and other control planes', and not from names of revisions. Single
pods of which nobody hears are found in `libs.inject.unasked`.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from libs.api import label_selectors
from libs.api.mesh_parts import LabelSelector
from libs.api.path import Path
from libs.api.readers import reader_of
from libs.api.report import Report
from libs.inject import webhooks, words
from libs.model.ids import Ref

SHOWN = 10
"""Revisions that a text names at most."""
_KEYS = (words.NAMESPACE_SWITCH, words.REVISION)
NAME_LABEL = "kubernetes.io/metadata.name"


class Reason(StrEnum):
    """Why nobody serves. The values are reasons of events and labels of a metric."""

    REVISION = "UnknownRevision"
    DEFAULT = "NoDefaultRevision"
    VALUE = "UnknownInjectionValue"


class Unserved(Struct, frozen=True):
    """What is asked for in vain, and that in words."""

    reason: Reason
    wish: str
    """The label's value."""
    text: str


class Asks(Struct, frozen=True):
    """About which namespaces and pods one webhook asks, and which revisions it names."""

    namespaces: LabelSelector
    revisions: frozenset[str]
    pods: LabelSelector = LabelSelector()
    service: tuple[str, str] = ("", "")
    """Namespace and name of the Service that answers; empty, if it is a URL."""


def asks(configuration: Mapping[str, Any]) -> list[Asks]:
    """Return what the webhooks of one MutatingWebhookConfiguration ask about.

    Those whose selectors do not say that labels of injection have a value are no injectors, unless
    they are named as Istio names them.
    """
    found = []
    for webhook in configuration.get("webhooks") or ():
        spaces = _selector(webhook.get("namespaceSelector"))
        pods = _selector(webhook.get("objectSelector"))
        values = {key: _wanted(spaces, key) | _wanted(pods, key) for key in _KEYS}
        named = str(webhook.get("name", "")).endswith(webhooks.SUFFIX)
        if named or any(values.values()):
            found.append(Asks(spaces, values[words.REVISION], pods, _service(webhook)))
    return found


def of_namespace(name: str, labels: Mapping[str, str], known: Iterable[Asks]) -> Unserved | None:
    """Return what the labels of a namespace ask for in vain; None if somebody hears or none asks.

    Namespaces of Kubernetes itself are nobody's to serve, and what a webhook leaves out by name is
    left out on purpose.
    """
    switch, revision = labels.get(words.NAMESPACE_SWITCH), labels.get(words.REVISION)
    if switch == "disabled" or name in words.IGNORED_NAMESPACES or switch is revision is None:
        return None
    known = list(known)
    named = {NAME_LABEL: name, **labels}
    nameless = {key: value for key, value in labels.items() if key != NAME_LABEL}
    if any(_hears(one.namespaces, seen) for one in known for seen in (named, nameless)):
        return None
    if switch is None:
        return _revision(revision or "", known, "pods of the namespace are not injected")
    said = f"the label {words.NAMESPACE_SWITCH}={switch[:63]}"
    if switch == "enabled":
        return Unserved(Reason.DEFAULT, switch, f"{said} is heard by nobody: {there_are(known)}")
    text = f"{said} is neither 'enabled' nor 'disabled': pods of the namespace are not injected"
    return Unserved(Reason.VALUE, switch, text)


def _revision(revision: str, known: Iterable[Asks], outcome: str) -> Unserved:
    said = f"the label {words.REVISION}={revision[:63]} is heard by nobody, so {outcome}"
    return Unserved(Reason.REVISION, revision, f"{said}: {there_are(known)}")


def there_are(known: Iterable[Asks]) -> str:
    """Return which revisions and tags there are, in words."""
    names = sorted({name for one in known for name in one.revisions})
    if not names:
        return "there are no injectors"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"there are the revisions and tags {', '.join(names[:SHOWN])}{more}"


def _hears(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    asks_for_it = any(_wanted(selector, key) for key in _KEYS)
    return asks_for_it and label_selectors.matches(selector, labels)


def _wanted(selector: LabelSelector, key: str) -> frozenset[str]:
    """Return the values of a label that a selector takes."""
    found = {value for name, value in selector.match_labels.items() if name == key}
    for one in selector.match_expressions:
        if one.key == key and one.operator == "In":
            found.update(one.values)
    return frozenset(found)


def _service(webhook: Mapping[str, Any]) -> tuple[str, str]:
    service = (webhook.get("clientConfig") or {}).get("service") or {}
    return str(service.get("namespace", "")), str(service.get("name", ""))


def _selector(written: object) -> LabelSelector:
    path: Path = None
    found = reader_of(LabelSelector)(written or {}, path, Report(Ref("")))
    return found if isinstance(found, LabelSelector) else LabelSelector()
