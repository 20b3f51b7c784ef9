"""Keys: P-256 wherever we choose, and which keys of others are accepted.

P-384 and RSA of 2048 to 4096 bits are accepted from others because Istio's agents may be told to
make them. Ed25519 is not: Envoy does not offer it in handshakes unless it is told to, so nobody
could reach a workload with such a certificate.
"""

from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

from libs.pki import files
from libs.pki.errors import UnusableKeyError

MAX_KEY_BYTES = 16 * 1024
_RSA_BITS = range(2048, 4096 + 1)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


def generate() -> ec.EllipticCurvePrivateKey:
    """Return a fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def to_pem(key: PrivateKey) -> bytes:
    """Return the key as unencrypted PKCS#8 PEM: keep it in memory, or in a file of mode 0600."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def load(pem: bytes) -> PrivateKey:
    """Return the private key in `pem`.

    Raises:
        UnusableKeyError: it is no unencrypted PEM key, or not of a kind that is used here.

    """
    if len(pem) > MAX_KEY_BYTES:
        message = f"a private key has at most {MAX_KEY_BYTES} bytes"
        raise UnusableKeyError(message)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        message = "not an unencrypted private key in PEM"
        raise UnusableKeyError(message) from error
    accepted(key.public_key())
    return cast("PrivateKey", key)


def of_private(pem: bytes) -> PublicKey:
    """Return the public half of a private key; raises as `load`."""
    return accepted(load(pem).public_key())


def load_public(pem: bytes) -> PublicKey:
    """Return the public key in `pem`.

    Raises:
        UnusableKeyError: it is no PEM public key, or not of a kind that is used here.

    """
    try:
        return accepted(serialization.load_pem_public_key(pem))
    except (ValueError, UnsupportedAlgorithm) as error:
        message = "not a public key in PEM"
        raise UnusableKeyError(message) from error


def load_or_generate(path: Path) -> PrivateKey:
    """Return the key kept in `path`; make it there, readable by its owner only, if it is missing.

    Raises:
        UnusableKeyError: the file holds something else.

    """
    if not path.exists():
        files.write_private(path, to_pem(generate()))
    return load(path.read_bytes())


def accepted(key: PublicKeyTypes | PrivateKeyTypes) -> PublicKey:
    """Return `key` if it is of an accepted kind and strength.

    Raises:
        UnusableKeyError: it is not.

    """
    if isinstance(key, ec.EllipticCurvePublicKey):
        if isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            return key
        message = f"curve {key.curve.name} is not used here, use P-256"
    elif isinstance(key, rsa.RSAPublicKey):
        if key.key_size in _RSA_BITS and key.public_numbers().e == 65537:
            return key
        message = "an RSA key needs 2048 to 4096 bits and the exponent 65537"
    else:
        message = "keys of this kind are not used here, use P-256"
    raise UnusableKeyError(message)


def of_certificate(certificate: x509.Certificate) -> PublicKey:
    """Return the key of a certificate.

    Raises:
        UnusableKeyError: it cannot be read, or is not of a kind that is used here.

    """
    try:
        return accepted(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm) as error:
        message = "the key of a certificate cannot be read"
        raise UnusableKeyError(message) from error


def public_pem(key: PrivateKey | PublicKey) -> bytes:
    """Return the public half as PEM."""
    public = key if isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey) else None
    return (public or cast("PrivateKey", key).public_key()).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def spki(key: PublicKey) -> bytes:
    """Return the public key's DER, by which two keys are compared."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
