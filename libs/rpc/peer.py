"""Peers: who calls, read from what TLS verified or from the token that the call carries.

An address is never an identity: a caller on this very machine has to prove itself like any other.
"""

import ssl
from typing import Any, TypeAlias

import grpc.aio

from libs.model.ids import SpiffeId, parse_spiffe_id
from libs.rpc.errors import CredentialError

MAX_TOKEN_CHARACTERS = 8 * 1024
_SCHEME = "Bearer "
_SPIFFE = b"spiffe://"
_URI_TAG = b"\x86"  # uniformResourceIdentifier [6] of RFC 5280

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


def identity(context: Context) -> SpiffeId | None:
    """Return the identity in the verified client certificate; None if the port asks for none.

    Raises:
        CredentialError: the certificate does not have exactly one URI, or it is not a SPIFFE id.

    """
    proved = context.auth_context()
    certificates = list(proved.get("x509_pem_cert", ()))
    if not certificates:
        return None
    uris = list(proved.get("peer_uri", ()))
    if len(uris) != 1 or not _is_whole(uris[0], certificates[0]):
        message = f"the client certificate has {len(uris)} URI names, and not one that is whole"
        raise CredentialError(message)
    try:
        return parse_spiffe_id(uris[0].decode())
    except ValueError as error:
        message = "the client certificate's URI is not the SPIFFE id of a service"
        raise CredentialError(message) from error


def bearer_token(context: Context) -> str:
    """Return the token of the call's one `authorization` header.

    Raises:
        CredentialError: there is no such header, more than one, or it is not `Bearer <token>`.

    """
    values = _authorizations(context)
    if len(values) != 1:
        message = f"the call has {len(values)} authorization headers and not one"
        raise CredentialError(message)
    text = values[0]
    if not isinstance(text, str) or not text.startswith(_SCHEME):
        message = "the authorization header is not of the form 'Bearer <token>'"
        raise CredentialError(message)
    return _plain(text.removeprefix(_SCHEME))


def has_bearer_token(context: Context) -> bool:
    """Tell whether the call has an `authorization` header, good or bad."""
    return bool(_authorizations(context))


def address(context: Context) -> str:
    """Return the caller's network address without its port: for limits and logs only."""
    kind, _, rest = context.peer().partition(":")
    return rest.rpartition(":")[0] if kind in {"ipv4", "ipv6"} else kind


def _authorizations(context: Context) -> list[str | bytes]:
    return [value for name, value in context.invocation_metadata() or () if name == "authorization"]


def _is_whole(uri: bytes, certificate: bytes) -> bool:
    r"""Tell whether `uri` is all of the name that the certificate has.

    gRPC for Python cuts names at a NUL, so `…/sa/bob\0x` would arrive as `…/sa/bob`. In the
    certificate's DER a name stands after its tag and its true length; as the scheme occurs there
    only once, it is this name's length.
    """
    der = ssl.PEM_cert_to_DER_cert(certificate.decode())
    return der.count(_SPIFFE) == 1 and _URI_TAG + _der_length(len(uri)) + uri in der


def _der_length(length: int) -> bytes:
    if length < 128:
        return bytes([length])
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([128 | len(octets)]) + octets


def _plain(token: str) -> str:
    if len(token) > MAX_TOKEN_CHARACTERS:
        message = f"a token has at most {MAX_TOKEN_CHARACTERS} characters"
        raise CredentialError(message)
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        message = "the token has characters that no token has"
        raise CredentialError(message)
    return token
