"""Rules of a RequestAuthentication."""

import re

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report
from libs.api.security.request_authentication import JwtRule, RequestAuthentication
from libs.api.validate.durations import check_duration
from libs.api.validate.headers import is_name
from libs.api.validate.key_sets import check_key_set
from libs.api.validate.labels import check_selector
from libs.api.validate.single_line import check_line
from libs.api.validate.targets import check_attachment
from libs.api.validate.urls import wrong_url

SPEC: Path = (None, "spec")
SCHEMES = frozenset({"http", "https"})
_HEADER = re.compile(r"[-_A-Za-z0-9]+")


def check(resource: RequestAuthentication, report: Report) -> None:
    """Report what is wrong with a RequestAuthentication."""
    spec = resource.spec
    check_attachment(spec.selector, spec.target_ref, spec.target_refs, report=report)
    check_selector(spec.selector, (SPEC, "selector"), report)
    for index, rule in enumerate(spec.jwt_rules):
        _check_rule(rule, ((SPEC, "jwtRules"), index), report)


def _check_rule(rule: JwtRule, path: Path, report: Report) -> None:
    if not rule.issuer and not rule.jwks_uri:
        report.error(path, reasons.MISSING_FIELD, "needs an issuer or a jwksUri")
    if rule.jwks_uri and rule.jwks:
        text = "only one of jwks and jwksUri may be set"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    if rule.jwks_uri and (wrong := wrong_url(rule.jwks_uri, SCHEMES)):
        report.error((path, "jwksUri"), reasons.INVALID_URL, wrong)
    if rule.jwks:
        check_key_set(rule.jwks, (path, "jwks"), report)
    check_duration(rule.timeout, (path, "timeout"), report)
    _check_headers(rule, path, report)


def _check_headers(rule: JwtRule, path: Path, report: Report) -> None:
    for index, claim in enumerate(rule.output_claim_to_headers):
        if not _HEADER.fullmatch(claim.header):
            place = (((path, "outputClaimToHeaders"), index), "header")
            text = f"{claim.header[:100]!r} is not letters, digits, '-' and '_' only"
            report.error(place, reasons.INVALID_HEADER, text)
    # Istio accepts the following two, and Envoy then refuses them.
    for index, location in enumerate(rule.from_headers):
        if not is_name(location.name):
            place = (((path, "fromHeaders"), index), "name")
            text = f"{location.name[:100]!r} is not a header's name"
            report.warning(place, reasons.INVALID_HEADER, text)
        for field, written in (("name", location.name), ("prefix", location.prefix)):
            place = (((path, "fromHeaders"), index), field)
            check_line(written, place, report, reason=reasons.INVALID_HEADER)
    output = rule.output_payload_to_header
    if output and not is_name(output):
        text = f"{output[:100]!r} is not a header's name"
        report.warning((path, "outputPayloadToHeader"), reasons.INVALID_HEADER, text)
    check_line(output, (path, "outputPayloadToHeader"), report, reason=reasons.INVALID_HEADER)
