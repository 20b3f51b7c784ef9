"""Rules of an AuthorizationPolicy."""

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report
from libs.api.security.authorization_policy import (
    Action,
    AuthorizationPolicy,
    AuthorizationPolicySpec,
    Rule,
)
from libs.api.validate.access_rules import check_rule, only_http, said
from libs.api.validate.labels import check_selector
from libs.api.validate.targets import check_attachment

SPEC: Path = (None, "spec")
NEVER = "without rules it never applies; write rules: [{}] to mean every request"

CUSTOM_SOURCES = frozenset(
    {
        "namespaces",
        "notNamespaces",
        "serviceAccounts",
        "notServiceAccounts",
        "trustDomains",
        "notTrustDomains",
        "principals",
        "notPrincipals",
        "requestPrincipals",
        "notRequestPrincipals",
    }
)
"""What is not known yet when an external authorizer is asked: the check comes before the others."""

CUSTOM_KEYS = frozenset(
    {"source.namespace", "source.serviceAccount", "source.trustDomain", "source.principal"}
)
_AUTHENTICATION = "request.auth."


def check(resource: AuthorizationPolicy, report: Report) -> None:
    """Report what is wrong with an AuthorizationPolicy."""
    spec = resource.spec
    check_attachment(spec.selector, spec.target_ref, spec.target_refs, report=report)
    check_selector(spec.selector, (SPEC, "selector"), report)
    _check_action(spec, report)
    for index, rule in enumerate(spec.rules or ()):
        place = ((SPEC, "rules"), index)
        check_rule(rule, place, report)
        if spec.action is Action.CUSTOM:
            _check_custom(rule, place, report)
        if spec.action is Action.DENY and only_http(rule):
            text = "denies everything on TCP ports, where HTTP is not known; name the ports"
            report.warning(place, reasons.DENIES_TCP, text)


def _check_action(spec: AuthorizationPolicySpec, report: Report) -> None:
    rules, provider = (SPEC, "rules"), (SPEC, "provider")
    if not spec.rules and spec.action in {Action.CUSTOM, Action.DENY}:
        report.error(rules, reasons.MISSING_FIELD, NEVER)
    elif spec.action is Action.CUSTOM and not (spec.provider and spec.provider.name):
        text = "CUSTOM needs the name of an extension provider"
        report.error((provider, "name"), reasons.MISSING_FIELD, text)
    if spec.provider is not None and spec.action is not Action.CUSTOM:
        text = f"a provider is for CUSTOM only, and the action is {spec.action}"
        report.error(provider, reasons.CONFLICTING_FIELDS, text)


def _check_custom(rule: Rule, path: Path, report: Report) -> None:
    text = "is not known yet when a CUSTOM policy is checked"
    for index, entry in enumerate(rule.from_ or ()):
        place = (((path, "from"), index), "source")
        for field in CUSTOM_SOURCES.intersection(said(entry.source)):
            report.error((place, field), reasons.CONFLICTING_FIELDS, f"{field} {text}")
    for index, condition in enumerate(rule.when):
        if condition.key in CUSTOM_KEYS or condition.key.startswith(_AUTHENTICATION):
            place = (((path, "when"), index), "key")
            report.error(place, reasons.CONFLICTING_FIELDS, f"{condition.key[:100]} {text}")
