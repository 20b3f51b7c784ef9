"""Rules about TLS as a client."""

from libs.api import reasons
from libs.api.networking.destination_rule import ClientTls, TlsMode
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.credential_names import check_credential_name
from libs.api.validate.single_line import check_line

CONFIG_MAP = "configmap://"
MAX_SNI = 255
"""In bytes, as Envoy has it."""

_ORIGINATING = frozenset({TlsMode.SIMPLE, TlsMode.MUTUAL})


def check_client_tls(tls: ClientTls, path: Path, report: Report, *, namespace: str) -> None:
    """Report certificates that are missing, or given twice; `namespace` is the resource's."""
    _check_credential_name(tls, path, report, namespace=namespace)
    _check_sni(tls.sni, (path, "sni"), report)
    if tls.insecure_skip_verify:
        _check_unverified(tls, path, report)
    if tls.mode not in _ORIGINATING:
        _warn_of_files(tls, path, report)
    elif tls.credential_name:
        for field, value in _files(tls):
            if value:
                text = f"{field} and credentialName exclude each other"
                report.error((path, field), reasons.CONFLICTING_FIELDS, text)
    else:
        _check_files(tls, path, report)


def _check_sni(sni: str, path: Path, report: Report) -> None:
    if len(sni.encode()) > MAX_SNI:
        report.error(path, reasons.OUT_OF_RANGE, f"must not be longer than {MAX_SNI} bytes")
    check_line(sni, path, report)


def _files(tls: ClientTls) -> tuple[tuple[str, str], ...]:
    return (
        ("clientCertificate", tls.client_certificate),
        ("privateKey", tls.private_key),
        ("caCertificates", tls.ca_certificates),
        ("caCrl", tls.ca_crl),
    )


def _check_files(tls: ClientTls, path: Path, report: Report) -> None:
    for field, value in _files(tls)[:2] if tls.mode is TlsMode.MUTUAL else ():
        if not value:
            report.error((path, field), reasons.MISSING_FIELD, f"{field} is required for MUTUAL")
    if not tls.ca_certificates and not tls.insecure_skip_verify:
        text = "without caCertificates, every authority that the system trusts is trusted"
        report.warning(path, reasons.UNPINNED_AUTHORITY, text)


def _check_unverified(tls: ClientTls, path: Path, report: Report) -> None:
    """Report what verification would need, where it is switched off."""
    if tls.mode not in _ORIGINATING:
        return
    given = [("caCertificates", tls.ca_certificates), ("subjectAltNames", tls.subject_alt_names)]
    if tls.mode is TlsMode.SIMPLE:
        given.append(("credentialName", tls.credential_name))
    for field, value in given:
        if value:
            text = f"{field} has no use with insecureSkipVerify: true"
            report.error((path, field), reasons.CONFLICTING_FIELDS, text)


def _warn_of_files(tls: ClientTls, path: Path, report: Report) -> None:
    for field, value in (*_files(tls), ("credentialName", tls.credential_name)):
        if value:
            text = f"{field} has no effect in mode {tls.mode}"
            report.warning((path, field), reasons.NO_EFFECT, text)


def _check_credential_name(tls: ClientTls, path: Path, report: Report, *, namespace: str) -> None:
    check_credential_name(tls.credential_name, (path, "credentialName"), report)
    if not tls.credential_name.startswith(CONFIG_MAP):
        return
    owner, _, name = tls.credential_name.removeprefix(CONFIG_MAP).partition("/")
    if owner != namespace or not name or "/" in name:
        text = f"must be configmap://{namespace}/<name>: a ConfigMap of the own namespace"
        report.error((path, "credentialName"), reasons.INVALID_NAME, text)
