"""Certificate requests: how ours are made, and which of others are worth signing.

A request supplies a public key and the proof that its sender holds the private one. Names and
extensions in it are ignored by whoever signs: identity comes from the caller's credential.
"""

import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import SignatureAlgorithmOID

from libs.model.ids import SpiffeId
from libs.pki import keys
from libs.pki.errors import CsrError, UnusableKeyError
from libs.pki.keys import PublicKey

MAX_CSR_BYTES = 16 * 1024
_ONE_BLOCK = re.compile(
    rb"\s*-----BEGIN (NEW )?CERTIFICATE REQUEST-----[A-Za-z0-9+/=\s]+"
    rb"-----END (NEW )?CERTIFICATE REQUEST-----\s*"
)
_SIGNATURES = frozenset(
    {
        SignatureAlgorithmOID.ECDSA_WITH_SHA256,
        SignatureAlgorithmOID.ECDSA_WITH_SHA384,
        SignatureAlgorithmOID.ECDSA_WITH_SHA512,
        SignatureAlgorithmOID.RSA_WITH_SHA256,
        SignatureAlgorithmOID.RSA_WITH_SHA384,
        SignatureAlgorithmOID.RSA_WITH_SHA512,
    }
)


def make(key: keys.PrivateKey, identity: SpiffeId | None = None) -> bytes:
    """Return a PEM request for `key`; the identity in it only tells a reader who asked."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if identity is not None:
        name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(identity))])
        builder = builder.add_extension(name, critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def make_with_key(identity: SpiffeId | None = None) -> tuple[bytes, bytes]:
    """Return `(key PEM, request PEM)` of a fresh P-256 key."""
    key = keys.generate()
    return keys.to_pem(key), make(key, identity)


def public_key(pem: bytes) -> PublicKey:
    """Return the key of a request whose sender proved to hold its private half.

    Raises:
        CsrError: too large, not exactly one PEM block, not PKCS#10, a key that is not accepted,
            or a signature that does not fit the key.

    """
    request = _parse(pem)
    try:
        key = keys.accepted(request.public_key())
        signed_well = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, UnusableKeyError) as error:
        message = str(error) if isinstance(error, UnusableKeyError) else "the key cannot be read"
        raise CsrError(message) from error
    if not signed_well:
        message = "the request is not signed by its own key"
        raise CsrError(message)
    return key


def _parse(pem: bytes) -> x509.CertificateSigningRequest:
    if len(pem) > MAX_CSR_BYTES:
        message = f"a request has at most {MAX_CSR_BYTES} bytes"
        raise CsrError(message)
    if _ONE_BLOCK.fullmatch(pem) is None:
        message = "not exactly one PEM block of a certificate request"
        raise CsrError(message)
    try:
        request = x509.load_pem_x509_csr(pem)
        algorithm = request.signature_algorithm_oid
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        message = "not a PKCS#10 certificate request"
        raise CsrError(message) from error
    if algorithm not in _SIGNATURES:
        message = "signed with an algorithm that is not used here"
        raise CsrError(message)
    return request
