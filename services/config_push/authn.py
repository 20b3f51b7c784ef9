"""Authentication: which identity a stream proves, by the kind of port that it came in at.

A token port believes service account tokens, an mTLS port mesh certificates. What a proxy says of
itself is compared with that identity by `libs.proxy.node`, never believed.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from libs.model.ids import SpiffeId
from libs.pki import jwk, tokens
from libs.pki.errors import PkiError
from libs.rpc import peer
from libs.rpc.errors import CredentialError
from libs.rpc.peer import Context
from libs.runtime.clock import Clock

logger = logging.getLogger(__name__)

Authenticate = Callable[[Context], SpiffeId]
"""Raises CredentialError or TokenError if a call proves no identity."""


class TokenKeys:
    """The keys of a token issuer, read again when their file changes."""

    def __init__(self, path: Path) -> None:
        """Read the keys.

        Raises:
            OSError: the file cannot be read.
            libs.pki.errors.PkiError: it holds no keys.

        """
        self._path = path
        self._stamp = self._signature()
        self._keys = jwk.load(path.read_bytes())

    @property
    def keys(self) -> jwk.KeySet:
        """The keys of this moment; those that were read last if the file is broken now."""
        stamp = self._signature()
        if stamp != self._stamp:
            self._stamp = stamp
            self._reload()
        return self._keys

    def _reload(self) -> None:
        try:
            self._keys = jwk.load(self._path.read_bytes())
        except (OSError, PkiError) as error:
            logger.warning("token keys refused", extra={"reason": str(error)})

    def _signature(self) -> tuple[int, int]:
        try:
            status = self._path.stat()
        except OSError:
            return (0, 0)
        return status.st_mtime_ns, status.st_size


class TokenRules(Struct, frozen=True):
    """Which tokens are believed."""

    keys: TokenKeys
    issuer: str
    audience: str
    trust_domain: str


def verify_token(token: str, rules: TokenRules, *, now: float) -> SpiffeId:
    """Return the identity that a token proves.

    Raises:
        TokenError: none.

    """
    policy = tokens.Policy(rules.keys.keys, rules.issuer, rules.audience)
    return tokens.verify(token, policy, now=now).identity(rules.trust_domain)


def by_token(rules: TokenRules, *, clock: Clock) -> Authenticate:
    """Believe a service account token."""

    def authenticate(context: Context) -> SpiffeId:
        return verify_token(peer.bearer_token(context), rules, now=clock.now())

    return authenticate


def by_certificate(*, trust_domain: str) -> Authenticate:
    """Believe a mesh certificate that TLS verified, if it is of our trust domain."""

    def authenticate(context: Context) -> SpiffeId:
        identity = peer.identity(context)
        if identity is None:
            message = "the call has no client certificate"
            raise CredentialError(message)
        if identity.trust_domain != trust_domain:
            message = "the client certificate is of another trust domain"
            raise CredentialError(message)
        return identity

    return authenticate
