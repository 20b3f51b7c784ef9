"""Rules about TLS as a server."""

import re
from collections.abc import Callable, Sequence

from libs.api import reasons
from libs.api.networking.server_tls import ServerTls, ServerTlsMode, TlsVersion
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.credential_names import check_credential_name

CIPHERS = frozenset(
    {
        "ALL",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-RSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-RSA-AES256-SHA",
        "AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
        "AES128-SHA",
        "AES256-SHA",
        "DES-CBC3-SHA",
    }
)
"""What BoringSSL calls the suites of TLS 1.2 and before."""

CURVES = frozenset(
    {"P-224", "P-256", "P-384", "P-521", "X25519", "X25519Kyber768Draft00", "X25519MLKEM768"}
)
_TERMINATING = frozenset(
    {ServerTlsMode.SIMPLE, ServerTlsMode.MUTUAL, ServerTlsMode.OPTIONAL_MUTUAL}
)
_PASSING = frozenset({ServerTlsMode.PASSTHROUGH, ServerTlsMode.AUTO_PASSTHROUGH})
_OLD = frozenset({TlsVersion.TLSV1_0, TlsVersion.TLSV1_1})
_SPKI = re.compile(r"[A-Za-z0-9+/]{43}=")
_HASH = re.compile(r"[0-9a-fA-F]{64}|(?:[0-9a-fA-F]{2}:){31}[0-9a-fA-F]{2}")


def check_server_tls(tls: ServerTls | None, path: Path, report: Report) -> None:
    """Report certificates that are missing or given twice, and settings without effect."""
    if tls is None:
        return
    _check_suites(tls, path, report)
    _check_texts(tls, path, report)
    _check_names(tls, path, report)
    if tls.mode is ServerTlsMode.ISTIO_MUTUAL:
        for field in _sources(tls):
            text = f"{field} has no place here: ISTIO_MUTUAL uses the mesh's own certificates"
            report.error((path, field), reasons.CONFLICTING_FIELDS, text)
        return
    if tls.mode in _PASSING:
        for field in (*_sources(tls), *(["caCrl"] if tls.ca_crl else ())):
            text = f"{field} has no effect in mode {tls.mode}: TLS does not end here"
            report.warning((path, field), reasons.NO_EFFECT, text)
    _check_sources(tls, path, report)
    by_name = bool(tls.credential_name or tls.credential_names)
    if tls.mode in _TERMINATING and not by_name:
        _check_files(tls, path, report)
    _check_revocation(tls, path, report)


def _sources(tls: ServerTls) -> list[str]:
    """The fields that name certificates and are set."""
    given = (
        ("serverCertificate", tls.server_certificate),
        ("privateKey", tls.private_key),
        ("caCertificates", tls.ca_certificates),
        ("tlsCertificates", tls.tls_certificates),
        ("credentialName", tls.credential_name),
        ("credentialNames", tls.credential_names),
    )
    return [field for field, value in given if value]


def _check_names(tls: ServerTls, path: Path, report: Report) -> None:
    named: list[tuple[Path, str]] = [
        ((path, "credentialName"), tls.credential_name),
        ((path, "caCertCredentialName"), tls.ca_cert_credential_name),
    ]
    listed = enumerate(tls.credential_names)
    named += [(((path, "credentialNames"), index), name) for index, name in listed]
    for place, name in named:
        check_credential_name(name, place, report)


def _check_sources(tls: ServerTls, path: Path, report: Report) -> None:
    sources = (
        tls.server_certificate and tls.private_key,
        tls.credential_name,
        tls.credential_names,
        tls.tls_certificates,
    )
    if sum(map(bool, sources)) > 1:
        text = (
            "only one of credentialName, credentialNames, tlsCertificates, and "
            "serverCertificate with privateKey may be set"
        )
        report.error(path, reasons.CONFLICTING_FIELDS, text)


def _check_files(tls: ServerTls, path: Path, report: Report) -> None:
    if tls.mode is not ServerTlsMode.SIMPLE and not tls.ca_certificates:
        text = f"{tls.mode} needs the authorities of clients: caCertificates or a credentialName"
        report.error((path, "caCertificates"), reasons.MISSING_FIELD, text)
    pairs: list[tuple[Path, str, str]] = [
        (((path, "tlsCertificates"), index), pair.server_certificate, pair.private_key)
        for index, pair in enumerate(tls.tls_certificates)
    ]
    for place, certificate, key in pairs or [(path, tls.server_certificate, tls.private_key)]:
        for field, value in (("serverCertificate", certificate), ("privateKey", key)):
            if not value:
                text = f"{tls.mode} needs a certificate: {field} or a credentialName"
                report.error((place, field), reasons.MISSING_FIELD, text)


def _check_revocation(tls: ServerTls, path: Path, report: Report) -> None:
    if not tls.ca_crl:
        return
    if tls.mode in _TERMINATING and (tls.credential_name or tls.credential_names):
        text = "has no effect with a credential: write the list into the Secret"
        report.warning((path, "caCrl"), reasons.NO_EFFECT, text)
    elif tls.credential_name:
        text = "caCrl and credentialName exclude each other"
        report.error((path, "caCrl"), reasons.CONFLICTING_FIELDS, text)
    elif tls.mode is ServerTlsMode.SIMPLE:
        text = "SIMPLE checks no certificates of clients, so none can be revoked"
        report.error((path, "caCrl"), reasons.CONFLICTING_FIELDS, text)


def _check_suites(tls: ServerTls, path: Path, report: Report) -> None:
    if tls.min_protocol_version in _OLD and not tls.cipher_suites:
        text = "needs cipherSuites: none of those before TLS 1.2 are on by default"
        report.warning((path, "minProtocolVersion"), reasons.NO_EFFECT, text)
    known: tuple[tuple[str, Sequence[str], Callable[[str], bool]], ...] = (
        ("cipherSuites", tls.cipher_suites, _is_cipher),
        ("ecdhCurves", tls.ecdh_curves, CURVES.__contains__),
    )
    for field, names, is_known in known:
        seen: set[str] = set()
        for index, name in enumerate(names):
            if not is_known(name):
                text = f"there is no {name[:100]!r}, so it is left out"
                report.warning(((path, field), index), reasons.UNKNOWN_CIPHER, text)
            elif name in seen:
                text = f"{name[:100]!r} is there twice"
                report.warning(((path, field), index), reasons.UNKNOWN_CIPHER, text)
            seen.add(name)


def _is_cipher(name: str) -> bool:
    """Tell whether BoringSSL may know a suite; what begins with a sign is an expression."""
    return not name or not name[0].isalnum() or name in CIPHERS


def _check_texts(tls: ServerTls, path: Path, report: Report) -> None:
    """Report digests that Istio accepts, and Envoy then refuses; warn of empty names.

    Leaving a digest out would let others in, and sending it would freeze the whole listener.
    """
    for index, name in enumerate(tls.subject_alt_names):
        if not name:
            place = ((path, "subjectAltNames"), index)
            report.warning(place, reasons.INVALID_VALUE, "must not be empty")
    lists: tuple[tuple[str, Sequence[str], Callable[[str], object], str], ...] = (
        (
            "verifyCertificateSpki",
            tls.verify_certificate_spki,
            _SPKI.fullmatch,
            "must be a SHA-256 in base64, 44 characters",
        ),
        (
            "verifyCertificateHash",
            tls.verify_certificate_hash,
            _HASH.fullmatch,
            "must be a SHA-256 in 64 hexadecimal digits",
        ),
    )
    for field, values, is_right, text in lists:
        for index, value in enumerate(values):
            if not is_right(value):
                report.error(((path, field), index), reasons.INVALID_VALUE, text)
