"""Rules about the conditions in `when`: which attributes there are, and what values they take."""

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report
from libs.api.security.authorization_policy import Condition
from libs.api.validate.access_values import (
    Wrong,
    check_values,
    wrong_account,
    wrong_block,
    wrong_port,
    wrong_text,
    wrong_wildcard,
)

ATTRIBUTES: dict[str, Wrong] = {
    "source.ip": wrong_block,
    "remote.ip": wrong_block,
    "source.namespace": wrong_text,
    "source.serviceAccount": wrong_account,
    "source.principal": wrong_text,
    "source.trustDomain": wrong_wildcard,
    "request.auth.principal": wrong_text,
    "request.auth.audiences": wrong_text,
    "request.auth.presenter": wrong_text,
    "destination.ip": wrong_block,
    "destination.port": wrong_port,
    "connection.sni": wrong_text,
}
"""Attributes by name."""

KEYED = ("request.headers", "request.auth.claims", "experimental.envoy.filters.")
"""Attributes that begin so and end with a key in brackets: `request.headers[x-user]`."""

REPLACED = {
    "destination.namespace": "the namespace of the policy decides that",
    "destination.labels": "the selector decides that",
    "destination.name": "the selector decides that",
    "destination.user": "the selector decides that",
}


def check_condition(condition: Condition, path: Path, report: Report) -> None:
    """Report an unknown attribute, and values that it never has."""
    key = condition.key
    if not key:
        report.error((path, "key"), reasons.EMPTY_VALUE, "must not be empty")
        return
    if not condition.values and not condition.not_values:
        text = "needs one of values and notValues"
        report.error(path, reasons.MISSING_FIELD, text)
        return
    if wrong := _wrong_key(key):
        report.error((path, "key"), reasons.UNKNOWN_ATTRIBUTE, wrong)
    check = ATTRIBUTES.get(key, wrong_text)
    check_values(condition.values, (path, "values"), report, wrong=check)
    check_values(condition.not_values, (path, "notValues"), report, wrong=check)


def _wrong_key(key: str) -> str:
    if key in ATTRIBUTES:
        return ""
    if key.startswith(KEYED):
        opening = key.find("[")
        inside = key.endswith("]") and 0 < opening < len(key) - 2
        return "" if inside else f"{key[:100]!r} needs a key in brackets: a[b]"
    if why := REPLACED.get(key.partition("[")[0]):
        return f"{key[:100]!r} is no longer an attribute: {why}"
    return f"there is no attribute {key[:100]!r}"
