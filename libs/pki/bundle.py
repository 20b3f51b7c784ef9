"""Bundles: certificates in PEM, apart and together. The cap is the one of cert-manager."""

import re
from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from libs.pki.errors import CertificateError

MAX_BUNDLE_BYTES = 330_000
_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


def parse(pem: bytes) -> list[x509.Certificate]:
    """Return the certificates of `pem` in order; comments between them are skipped.

    Raises:
        CertificateError: there is none, one is broken, or the bundle is too large.

    """
    if len(pem) > MAX_BUNDLE_BYTES:
        message = f"a bundle has at most {MAX_BUNDLE_BYTES} bytes"
        raise CertificateError(message)
    try:
        found = [x509.load_pem_x509_certificate(block) for block in _BLOCK.findall(pem)]
    except (ValueError, x509.InvalidVersion) as error:
        message = "a certificate in the bundle cannot be read"
        raise CertificateError(message) from error
    if not found:
        message = "there is no certificate in the bundle"
        raise CertificateError(message)
    return found


def to_pem(certificates: Iterable[x509.Certificate]) -> bytes:
    """Return the certificates as PEM, one after another."""
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def union(*bundles: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Return all certificates once, in order of their first appearance."""
    seen: dict[bytes, x509.Certificate] = {}
    for certificates in bundles:
        for certificate in certificates:
            seen.setdefault(certificate.fingerprint(hashes.SHA256()), certificate)
    return list(seen.values())


def validity(pem: bytes) -> tuple[float, float]:
    """Return `(not before, not after)` of the first certificate, as seconds since the epoch.

    Raises:
        CertificateError: there is no readable certificate.

    """
    leaf = parse(pem)[0]
    return leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
