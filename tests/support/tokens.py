"""Tokens that a thief, a fool or another cluster might show, made by hand from honest ones."""

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from libs.model.ids import SpiffeId
from libs.pki import base64url, jwk, keys, tokens

POD = tokens.Bound("web-1", "7e1f")


def honest(identity: SpiffeId, key: ec.EllipticCurvePrivateKey, now: float) -> str:
    return tokens.mint(identity, pod=POD, key=key, now=now)


def claims_of(token: str) -> dict[str, Any]:
    return json.loads(base64url.decode(token.split(".")[1]))  # type: ignore[no-any-return]


def joined(header: dict[str, Any], claims: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    body = ".".join(base64url.encode(json.dumps(part).encode()) for part in (header, claims))
    return f"{body}.{base64url.encode(sign(body.encode()))}"


def changed(token: str, key: ec.EllipticCurvePrivateKey, **changes: object) -> str:
    """Return `token` with other claims, signed again with `key`; None removes a claim."""
    claims = {**claims_of(token), **changes}
    return tokens.sign({name: value for name, value in claims.items() if value is not None}, key)


def algorithm_none(token: str, kid: str) -> str:
    return joined({"alg": "none", "kid": kid}, claims_of(token), lambda _: b"")


def hs256_with_the_public_key(token: str, key: keys.PublicKey, kid: str) -> str:
    """The classic: a verifier that lets the token choose takes the public key for a secret."""

    def sign(body: bytes) -> bytes:
        return hmac.new(keys.public_pem(key), body, hashlib.sha256).digest()

    return joined({"alg": "HS256", "kid": kid}, claims_of(token), sign)


def rs256(claims: dict[str, Any], key: rsa.RSAPrivateKey, algorithm: str = "RS256") -> str:
    def sign(body: bytes) -> bytes:
        return key.sign(body, padding.PKCS1v15(), hashes.SHA256())

    return joined({"alg": algorithm, "kid": jwk.key_id(key.public_key())}, claims, sign)


def legacy_secret_token(identity: SpiffeId, key: ec.EllipticCurvePrivateKey) -> str:
    """The kind that older clusters kept in Secrets: no audience, no end, no pod."""
    prefix = "kubernetes.io/serviceaccount"
    return tokens.sign(
        {
            "iss": "kubernetes/serviceaccount",
            f"{prefix}/namespace": identity.namespace,
            f"{prefix}/service-account.name": identity.service_account,
            "sub": f"system:serviceaccount:{identity.namespace}:{identity.service_account}",
        },
        key,
    )


def refused(identity: SpiffeId, key: ec.EllipticCurvePrivateKey, now: float) -> dict[str, str]:
    """Return name → token, none of which proves anything to a verifier that trusts `key`."""
    token = honest(identity, key, now)
    public = key.public_key()
    kid = jwk.key_id(public)
    head, body, signature = token.split(".")
    binding = claims_of(token)["kubernetes.io"]
    stranger = keys.generate()
    return {
        "other audience": changed(token, key, aud=["other"]),
        "no audience": changed(token, key, aud=None),
        "empty audience": changed(token, key, aud=[]),
        "audience of the API server": changed(token, key, aud=[tokens.ISSUER]),
        "audience as a prefix": changed(token, key, aud=["istio-ca-2"]),
        "expired": changed(token, key, exp=now),
        "no expiry": changed(token, key, exp=None),
        "expiry not a number": changed(token, key, exp="tomorrow"),
        "not valid yet": changed(token, key, nbf=now + 60),
        "issued in the future": changed(token, key, iat=now + 60),
        "another issuer": changed(token, key, iss="https://other.example"),
        "no issuer": changed(token, key, iss=None),
        "another cluster's key": honest(identity, stranger, now),
        "another key under our key id": joined(
            {"alg": "ES256", "kid": kid},
            claims_of(token),
            lambda content: stranger.sign(content, ec.ECDSA(hashes.SHA256())),
        ),
        "alg none": algorithm_none(token, kid),
        "alg None, other spelling": algorithm_none(token, kid).replace("none", "None"),
        "HS256 with the public key": hs256_with_the_public_key(token, public, kid),
        "RS256 claimed for a P-256 key": joined(
            {"alg": "RS256", "kid": kid},
            claims_of(token),
            lambda content: key.sign(content, ec.ECDSA(hashes.SHA256())),
        ),
        "no key id": joined({"alg": "ES256"}, claims_of(token), lambda _: b"\0" * 64),
        "zero signature": f"{head}.{body}.{base64url.encode(bytes(64))}",
        "no signature": f"{head}.{body}.",
        "signature of DER form": joined(
            {"alg": "ES256", "kid": kid},
            claims_of(token),
            lambda content: key.sign(content, ec.ECDSA(hashes.SHA256())),
        ),
        "changed body": f"{head}.{base64url.encode(base64url.decode(body) + b' ')}.{signature}",
        "padding": f"{token}=",
        "subject of another": changed(token, key, sub="system:serviceaccount:shop:eve"),
        "no binding": changed(token, key, **{"kubernetes.io": None}),
        "no pod": changed(
            token, key, **{"kubernetes.io": {k: v for k, v in binding.items() if k != "pod"}}
        ),
        "empty pod uid": changed(
            token, key, **{"kubernetes.io": {**binding, "pod": {"name": "web-1", "uid": ""}}}
        ),
        "account with a slash": changed(
            token,
            key,
            sub="system:serviceaccount:shop:bob/../eve",
            **{
                "kubernetes.io": {
                    **binding,
                    "serviceaccount": {"name": "bob/../eve", "uid": "1"},
                }
            },
        ),
        "legacy secret token": legacy_secret_token(identity, key),
        "8 KiB and one": changed(token, key, filler="x" * 8192),
        "two parts": f"{head}.{body}",
        "four parts": f"{token}.x",
        "not base64": f"{head}.*.{signature}",
        "empty": "",
        "deeply nested": joined(
            {"alg": "ES256", "kid": kid}, {"x": []}, lambda _: b"\0" * 64
        ).replace(".", "." + base64url.encode(b"[" * 4000), 1),
    }
