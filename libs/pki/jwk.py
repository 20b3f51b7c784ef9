"""Key sets: the public keys by which tokens are verified, from a JWKS or from PEM.

A key's id in a PEM file is what Kubernetes would call it: the hash of its DER.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from libs.pki import base64url, keys
from libs.pki.errors import UnusableKeyError
from libs.pki.keys import PublicKey

MAX_KEYS = 32
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----")

KeySet = Mapping[str, PublicKey]
"""Key id → key. Only P-256 and RSA keys."""


def load(content: bytes) -> KeySet:
    """Return the keys of a JWKS document or of a PEM file.

    Raises:
        UnusableKeyError: there is none, or one cannot be used. One bad key refuses the file:
            a file that is half wrong is a mistake to be told about.

    """
    found = _from_jwks(content) if content.lstrip().startswith(b"{") else _from_pem(content)
    if not 0 < len(found) <= MAX_KEYS:
        message = f"a key set has 1 to {MAX_KEYS} keys"
        raise UnusableKeyError(message)
    return found


def key_id(key: PublicKey) -> str:
    """Return the id that Kubernetes gives a key."""
    return base64url.encode(hashlib.sha256(keys.spki(key)).digest())


def document(*public: PublicKey) -> bytes:
    """Return a JWKS of P-256 keys."""
    rows = []
    for key in public:
        numbers = key.public_numbers()
        if not isinstance(numbers, ec.EllipticCurvePublicNumbers):
            message = "only P-256 keys are published"
            raise UnusableKeyError(message)
        rows.append(
            {
                "kty": "EC",
                "crv": "P-256",
                "use": "sig",
                "alg": "ES256",
                "kid": key_id(key),
                "x": base64url.encode(numbers.x.to_bytes(32)),
                "y": base64url.encode(numbers.y.to_bytes(32)),
            }
        )
    return msgspec.json.encode({"keys": rows})


def _from_pem(content: bytes) -> KeySet:
    found = [_signing(keys.load_public(block)) for block in _PEM.findall(content)]
    return {key_id(key): key for key in found}


def _from_jwks(content: bytes) -> KeySet:
    try:
        rows = msgspec.json.decode(content, type=dict[str, Any])["keys"]
        return {str(row["kid"]): _signing(_key(row)) for row in rows}
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        message = "not a JSON Web Key Set with a kid for each key"
        raise UnusableKeyError(message) from error


def _key(row: Mapping[str, Any]) -> PublicKey:
    if row["kty"] == "EC" and row["crv"] == "P-256":
        return ec.EllipticCurvePublicNumbers(
            _number(row["x"]), _number(row["y"]), ec.SECP256R1()
        ).public_key()
    if row["kty"] == "RSA":
        return rsa.RSAPublicNumbers(_number(row["e"]), _number(row["n"])).public_key()
    message = "only P-256 and RSA keys verify tokens"
    raise UnusableKeyError(message)


def _number(text: str) -> int:
    return int.from_bytes(base64url.decode(text))


def _signing(key: PublicKey) -> PublicKey:
    accepted = keys.accepted(key)
    if isinstance(accepted, ec.EllipticCurvePublicKey) and accepted.curve.name != "secp256r1":
        message = "only P-256 and RSA keys verify tokens"
        raise UnusableKeyError(message)
    return accepted
