"""Rules about the rules of an AuthorizationPolicy: sources, operations and conditions."""

from collections.abc import Sequence

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report
from libs.api.security.authorization_policy import Operation, Rule, Source
from libs.api.validate.access_values import (
    check_values,
    wrong_account,
    wrong_block,
    wrong_path,
    wrong_port,
    wrong_text,
    wrong_trust_domain,
)
from libs.api.validate.conditions import check_condition

_TCP_SOURCES = frozenset(
    {
        "principals",
        "notPrincipals",
        "namespaces",
        "notNamespaces",
        "serviceAccounts",
        "notServiceAccounts",
        "ipBlocks",
        "notIpBlocks",
        "remoteIpBlocks",
        "notRemoteIpBlocks",
    }
)
"""What of a source is known without HTTP."""


def check_rule(rule: Rule, path: Path, report: Report) -> None:
    """Report what is wrong with one rule."""
    for field, entries in (("from", rule.from_), ("to", rule.to)):
        if entries == ():
            text = "must not be empty; leave it out to mean everything"
            report.error((path, field), reasons.EMPTY_VALUE, text)
    for index, origin in enumerate(rule.from_ or ()):
        _check_source(origin.source, (((path, "from"), index), "source"), report)
    for index, target in enumerate(rule.to or ()):
        _check_operation(target.operation, (((path, "to"), index), "operation"), report)
    for index, condition in enumerate(rule.when):
        check_condition(condition, ((path, "when"), index), report)


def said(part: Source | Operation | None) -> dict[str, Sequence[str]]:
    """Return the lists of a source or operation that are not empty, by their written name."""
    if part is None:
        return {}
    names = zip(part.__struct_encode_fields__, part.__struct_fields__, strict=True)
    return {written: values for written, name in names if (values := getattr(part, name))}


def only_http(rule: Rule) -> bool:
    """Tell whether a rule names sources or operations, but nothing that is known on TCP ports."""
    sources = [said(entry.source) for entry in rule.from_ or () if entry.source]
    operations = [said(entry.operation) for entry in rule.to or () if entry.operation]
    if operations:
        return not any({"ports", "notPorts"} & lists.keys() for lists in operations)
    return bool(sources) and not any(_TCP_SOURCES & lists.keys() for lists in sources)


def _check_source(source: Source | None, path: Path, report: Report) -> None:
    lists = said(source)
    if not lists:
        report.error(path, reasons.EMPTY_VALUE, "must say something; leave it out to mean everyone")
    accounts = {"serviceAccounts", "notServiceAccounts"} & lists.keys()
    if accounts and {"principals", "notPrincipals", "namespaces", "notNamespaces"} & lists.keys():
        text = "service accounts exclude principals and namespaces in one source"
        report.error((path, min(accounts)), reasons.CONFLICTING_FIELDS, text)
    for field, values in lists.items():
        check_values(values, (path, field), report, wrong=_SOURCE_CHECKS.get(field, wrong_text))


def _check_operation(operation: Operation | None, path: Path, report: Report) -> None:
    lists = said(operation)
    if not lists:
        text = "must say something; leave it out to mean everything"
        report.error(path, reasons.EMPTY_VALUE, text)
    for field, values in lists.items():
        check_values(values, (path, field), report, wrong=_OPERATION_CHECKS.get(field, wrong_text))


_SOURCE_CHECKS = {
    "ipBlocks": wrong_block,
    "notIpBlocks": wrong_block,
    "remoteIpBlocks": wrong_block,
    "notRemoteIpBlocks": wrong_block,
    "serviceAccounts": wrong_account,
    "notServiceAccounts": wrong_account,
    "trustDomains": wrong_trust_domain,
    "notTrustDomains": wrong_trust_domain,
}
_OPERATION_CHECKS = {
    "ports": wrong_port,
    "notPorts": wrong_port,
    "paths": wrong_path,
    "notPaths": wrong_path,
}
