"""Tokens: service account tokens of Kubernetes' shape, made and verified without a cluster.

Local mode mints them with a key of its own; verification is what TokenReview would do: signature,
issuer, audience, times, and that the token is bound to a pod. The algorithm is decided by the key
and only compared with what the token claims, so neither `none` nor HS256 with the
public key has a way in.
Whether a pod still exists is not decided here: only a cluster knows.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from msgspec import Struct

from libs.model.ids import SpiffeId, parse_spiffe_id
from libs.pki import base64url, jwk
from libs.pki.errors import TokenError
from libs.pki.keys import PublicKey

AUDIENCE = "istio-ca"
ISSUER = "https://kubernetes.default.svc"
MAX_TOKEN_CHARACTERS = 8 * 1024
CLOCK_SKEW_SECONDS = 10.0


class Bound(Struct, frozen=True):
    """A name and the uid of the one object that bears it."""

    name: str
    uid: str


class Binding(Struct, frozen=True):
    """The claim `kubernetes.io`: what a token is bound to."""

    namespace: str
    serviceaccount: Bound
    pod: Bound


class Claims(Struct, frozen=True):
    """What a token says. Times are seconds since the epoch."""

    iss: str
    sub: str
    aud: Sequence[str] | str
    exp: float
    nbf: float
    iat: float
    binding: Binding = msgspec.field(name="kubernetes.io")

    def identity(self, trust_domain: str) -> SpiffeId:
        """Return the identity that the token proves.

        Raises:
            TokenError: its names cannot be part of a SPIFFE id.

        """
        account = self.binding.serviceaccount.name
        try:
            text = f"spiffe://{trust_domain}/ns/{self.binding.namespace}/sa/{account}"
            return parse_spiffe_id(text)
        except ValueError as error:
            message = "the token names no possible service account"
            raise TokenError(message) from error


class _Header(Struct, frozen=True):
    alg: str
    kid: str = ""


class Policy(Struct, frozen=True):
    """Which tokens are believed."""

    keys: jwk.KeySet
    issuer: str = ISSUER
    audience: str = AUDIENCE


def mint(
    account: SpiffeId,
    *,
    pod: Bound,
    key: ec.EllipticCurvePrivateKey,
    now: float,
    lifetime: float = 3600.0,
    audience: str = AUDIENCE,
) -> str:
    """Return a token for `account` in `pod`, of the issuer ISSUER, as a cluster would mint it."""
    uid = f"{account.namespace}.{account.service_account}"
    claims = Claims(
        iss=ISSUER,
        sub=_subject(account.namespace, account.service_account),
        aud=[audience],
        exp=int(now + lifetime),
        nbf=int(now),
        iat=int(now),
        binding=Binding(account.namespace, Bound(account.service_account, uid), pod),
    )
    return sign(msgspec.to_builtins(claims), key)


def sign(claims: dict[str, Any], key: ec.EllipticCurvePrivateKey) -> str:
    """Return a token with exactly these claims, signed with ES256."""
    header = {"alg": "ES256", "kid": jwk.key_id(key.public_key())}
    parts = [base64url.encode(msgspec.json.encode(part)) for part in (header, claims)]
    r, s = utils.decode_dss_signature(key.sign(".".join(parts).encode(), ec.ECDSA(hashes.SHA256())))
    return ".".join([*parts, base64url.encode(r.to_bytes(32) + s.to_bytes(32))])


def verify(token: str, policy: Policy, *, now: float) -> Claims:
    """Return the claims of a token that may be believed at `now`.

    Raises:
        TokenError: it may not. The message is for the log; the caller is told nothing.

    """
    if len(token) > MAX_TOKEN_CHARACTERS:
        _refuse("it is too long")
    parts = token.split(".")
    if len(parts) != 3:
        _refuse("it does not have three parts")
    _check_signature(parts, policy.keys)
    claims: Claims = _decoded(parts[1], Claims)
    _check_claims(claims, policy)
    _check_times(claims, now)
    return claims


def _check_signature(parts: list[str], keys: jwk.KeySet) -> None:
    header = _decoded(parts[0], _Header)
    key = keys.get(header.kid)
    if key is None:
        message = "no known key has the id that it names"
        raise TokenError(message)
    try:
        signature = base64url.decode(parts[2])
        _verify(key, header.alg, (".".join(parts[:2]).encode(), signature))
    except (InvalidSignature, ValueError) as error:
        message = "its signature is wrong"
        raise TokenError(message) from error


def _verify(key: PublicKey, algorithm: str, signed: tuple[bytes, bytes]) -> None:
    content, signature = signed
    if isinstance(key, rsa.RSAPublicKey) and algorithm == "RS256":
        key.verify(signature, content, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm == "ES256":
        if len(signature) != 64:
            _refuse("its signature is not that of ES256")
        pair = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        key.verify(utils.encode_dss_signature(*pair), content, ec.ECDSA(hashes.SHA256()))
    else:
        _refuse("its algorithm is not that of its key")


def _check_claims(claims: Claims, policy: Policy) -> None:
    audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    if policy.audience not in audiences:
        _refuse("it is for another audience")
    if claims.iss != policy.issuer:
        _refuse("it is from another issuer")
    binding = claims.binding
    if claims.sub != _subject(binding.namespace, binding.serviceaccount.name):
        _refuse("its subject is not what it is bound to")
    if not (binding.pod.name and binding.pod.uid and binding.serviceaccount.uid):
        _refuse("it is not bound to a pod")


def _check_times(claims: Claims, now: float) -> None:
    if not claims.exp > now:
        _refuse("it has expired")
    if not claims.nbf <= now + CLOCK_SKEW_SECONDS:
        _refuse("it is not valid yet")
    if not claims.iat <= now + CLOCK_SKEW_SECONDS:
        _refuse("it was issued in the future")


def _decoded(part: str, wanted: Any) -> Any:  # noqa: ANN401
    try:
        return msgspec.json.decode(base64url.decode(part), type=wanted)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        message = "it does not have the form of a service account token"
        raise TokenError(message) from error


def _subject(namespace: str, account: str) -> str:
    return f"system:serviceaccount:{namespace}:{account}"


def _refuse(reason: str) -> None:
    raise TokenError(reason)
