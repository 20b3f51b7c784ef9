"""Rules about MeshConfig, beside those about its proxies and its extension providers."""

from collections.abc import Mapping, Sequence

from libs.api import reasons
from libs.api.mesh_parts import (
    CertificateData,
    DefaultTrafficPolicy,
    LabelSelector,
    MeshTls,
    ServiceEntryVisibility,
    ServiceSettings,
)
from libs.api.networking.virtual_service import Retry
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.connection_pool import check_connection_pool
from libs.api.validate.hosts import wrong_pattern
from libs.api.validate.labels import check_labels, is_key
from libs.api.validate.retries import check_retries
from libs.api.validate.server_tls import CURVES
from libs.api.validate.traffic_policy import check_outliers

SET_OPERATORS: Mapping[str, bool] = {
    "In": True,
    "NotIn": True,
    "Exists": False,
    "DoesNotExist": False,
}
"""Operators of a requirement, and whether they compare with values."""


def check_label_selectors(
    selectors: Sequence[LabelSelector] | None, path: Path, report: Report
) -> None:
    """Report selectors of namespaces or services that Kubernetes would not take."""
    for index, selector in enumerate(selectors or ()):
        check_label_selector(selector, (path, index), report)


def check_label_selector(selector: LabelSelector, path: Path, report: Report) -> None:
    """Report what Kubernetes would not take of one selector."""
    check_labels(selector.match_labels, (path, "matchLabels"), report)
    for at, requirement in enumerate(selector.match_expressions):
        where = ((path, "matchExpressions"), at)
        if not is_key(requirement.key):
            text = f"{requirement.key[:100]!r} is not a label's key"
            report.error((where, "key"), reasons.INVALID_LABEL, text)
        compares = SET_OPERATORS.get(requirement.operator)
        if compares is None:
            text = f"must be one of {', '.join(SET_OPERATORS)}"
            report.error((where, "operator"), reasons.INVALID_CHOICE, text)
        elif compares != bool(requirement.values):
            text = f"{requirement.operator} {'needs' if compares else 'has no'} values"
            report.error((where, "values"), reasons.CONFLICTING_FIELDS, text)


def check_mesh_tls(tls: MeshTls | None, path: Path, report: Report) -> None:
    """Report curves for mutual TLS, whose curves are the mesh's own matter."""
    if tls and tls.ecdh_curves:
        text = "mutual TLS of the mesh has no choice of curves"
        report.error((path, "ecdhCurves"), reasons.CONFLICTING_FIELDS, text)


def check_tls_defaults(tls: MeshTls | None, path: Path, report: Report) -> None:
    """Warn of curves that are unknown, or there twice."""
    seen: set[str] = set()
    for index, curve in enumerate(tls.ecdh_curves if tls else ()):
        if curve not in CURVES or curve in seen:
            text = f"{curve[:100]!r} is unknown or repeated, so it is left out"
            report.warning(((path, "ecdhCurves"), index), reasons.UNKNOWN_CIPHER, text)
        seen.add(curve)


def check_default_policy(policy: DefaultTrafficPolicy | None, path: Path, report: Report) -> None:
    """Report limits that there cannot be."""
    if policy is None:
        return
    check_connection_pool(policy.connection_pool, (path, "connectionPool"), report)
    if policy.outlier_detection:
        check_outliers(policy.outlier_detection, (path, "outlierDetection"), report)


def check_entry_visibility(
    visibility: ServiceEntryVisibility | None, path: Path, report: Report
) -> None:
    """Report selectors that are wrong; warn of rules that nobody follows."""
    if visibility is None:
        return
    if not visibility.apply_to_sidecars:
        text = "holds for sidecars only with applyToSidecars: true, and there is nothing else here"
        report.warning((path, "applyToSidecars"), reasons.NO_EFFECT, text)
    for index, policy in enumerate(visibility.policies):
        for at, rule in enumerate(policy.matching_rules):
            place = (((((path, "policies"), index), "matchingRules"), at), "namespaceSelector")
            if rule.namespace_selector is None:
                text = "without a selector it covers no namespace"
                report.warning(place, reasons.NO_EFFECT, text)
            else:
                check_label_selector(rule.namespace_selector, place, report)


def check_roots(written: Sequence[CertificateData] | None, path: Path, report: Report) -> None:
    """Report roots that are given twice or are none; warn of those that nobody gets."""
    for index, roots in enumerate(written or ()):
        place = (path, index)
        if roots.pem and roots.spiffe_bundle_url:
            text = "pem and spiffeBundleUrl exclude each other"
            report.error(place, reasons.CONFLICTING_FIELDS, text)
        if roots.pem and "-----BEGIN CERTIFICATE-----" not in roots.pem:
            report.error((place, "pem"), reasons.INVALID_VALUE, "is no certificate in PEM")
        if roots.spiffe_bundle_url:
            text = "is not fetched: write the certificates as pem"
            report.warning((place, "spiffeBundleUrl"), reasons.UNSUPPORTED_FIELD, text)
        if roots.cert_signers:
            text = "signers of Kubernetes do not sign for workloads here: nobody gets this"
            report.warning((place, "certSigners"), reasons.UNSUPPORTED_FIELD, text)


def check_service_settings(
    settings: Sequence[ServiceSettings] | None, path: Path, report: Report
) -> None:
    """Report hosts that are none."""
    for index, entry in enumerate(settings or ()):
        for at, host in enumerate(entry.hosts):
            if wrong := wrong_pattern(host):
                report.error((((path, index), "hosts"), at), reasons.INVALID_HOST, wrong)


def check_inbound_retries(retries: Retry | None, path: Path, report: Report) -> None:
    """Report retries that contradict themselves; warn of what has no meaning within a pod."""
    check_retries(retries, path, report)
    if retries is None:
        return
    if not retries.attempts and retries.backoff is not None:
        text = "attempts 0 switches retries off, so nothing else may be set"
        report.error((path, "backoff"), reasons.CONFLICTING_FIELDS, text)
    ignored = {
        "perTryTimeout": retries.per_try_timeout,
        "retryRemoteLocalities": retries.retry_remote_localities,
        "retryIgnorePreviousHosts": retries.retry_ignore_previous_hosts,
    }
    for field, value in ignored.items():
        if value is not None:
            text = "has no meaning where there is one application to retry"
            report.warning((path, field), reasons.NO_EFFECT, text)
