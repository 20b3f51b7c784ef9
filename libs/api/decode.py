"""Decode: raw JSON-like data of one resource into its kind's Struct, with all problems at once.

Istio's kinds are strict: an unknown field is a problem. Of Kubernetes' own kinds only what the mesh
reads is declared, and the rest is ignored. Whether the values make sense together is not decided
here but in `libs.api.validate`.
"""

import re
from collections.abc import Mapping
from typing import cast

from msgspec import structs

from libs.api import reasons, registry
from libs.api.identity import identify
from libs.api.problem import Problem, Severity
from libs.api.readers import reader_of
from libs.api.registry import Kind, Unread
from libs.api.report import Report
from libs.api.resource import Resource

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_DNS_LABEL = re.compile(_LABEL)
_NAMED_BY_LABEL = frozenset({"Service", "Namespace"})


def decode(raw: Mapping[str, object]) -> tuple[Resource | None, list[Problem]]:
    """Return the resource, or None and why.

    A resource of a kind that the mesh does not read is None without problems.
    """
    report = Report(identify(raw).ref)
    kind = _kind(raw, report)
    if kind is None or kind.struct is None:
        return None, report.problems
    resource = reader_of(kind.struct)(raw, None, report)
    if isinstance(resource, Resource):
        resource = _named(resource, kind, report)
    if any(problem.severity is Severity.ERROR for problem in report.problems):
        return None, report.problems
    return cast("Resource", resource), report.problems


def _kind(raw: Mapping[str, object], report: Report) -> Kind | None:
    """Return the kind if it can be read; report if it should be one of ours, but cannot."""
    api_version, name = raw.get("apiVersion"), raw.get("kind")
    if api_version is None and name is None:
        report.error("", reasons.NOT_AN_OBJECT, "has neither apiVersion nor kind")
        return None
    for field, value in (("apiVersion", api_version), ("kind", name)):
        if not isinstance(value, str) or not value:
            report.error(field, reasons.MISSING_FIELD, f"{field} is required, and a text")
    if report.problems:
        return None
    version, name = str(api_version)[:200], str(name)[:200]
    found = registry.find(version, name)
    if isinstance(found, Kind):
        if found.struct is None:
            text = f"{name} of {found.group} is not supported yet, and has no effect"
            report.error("kind", reasons.UNSUPPORTED_KIND, text)
        return found
    if found is not Unread.IGNORED:
        _unknown(found, version, name, report)
    return None


def _unknown(why: Unread, version: str, name: str, report: Report) -> None:  # noqa: PLR0917
    if why is Unread.UNKNOWN_VERSION:
        served = ", ".join(registry.BY_NAME[registry.split(version)[0], name].api_versions)
        text = f"{name} is not served as {version!r}, but as {served}"
        report.error("apiVersion", reasons.UNKNOWN_VERSION, text)
        return
    meant = registry.suggestion(version, name)
    hint = f"; did you mean {meant}?" if meant else ""
    text = f"there is no kind {name!r} in {version!r}{hint}"
    report.error("kind", reasons.UNKNOWN_KIND, text)


def _named(resource: Resource, kind: Kind, report: Report) -> Resource:
    """Return the resource with its namespace set, after a look at its names."""
    metadata = resource.metadata
    namespace = metadata.namespace or registry.DEFAULT_NAMESPACE if kind.namespaced else ""
    pattern, longest = (_DNS_LABEL, 63) if kind.name in _NAMED_BY_LABEL else (_SUBDOMAIN, 253)
    if not pattern.fullmatch(metadata.name) or len(metadata.name) > longest:
        text = f"must be lower-case letters, digits, '-' or '.', at most {longest} in all"
        report.error("metadata.name", reasons.INVALID_NAME, text)
    if namespace and (not _DNS_LABEL.fullmatch(namespace) or len(namespace) > 63):
        text = "must be lower-case letters, digits or '-', at most 63 in all"
        report.error("metadata.namespace", reasons.INVALID_NAME, text)
    if namespace == metadata.namespace:
        return resource
    return structs.replace(resource, metadata=structs.replace(metadata, namespace=namespace))
