"""Authentication: which identity a stream proves, by the kind of port that it came in at.

A token port believes service account tokens, an mTLS port mesh certificates. What a proxy says of
itself is compared with that identity by `libs.proxy.node`, never believed.
"""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec import Struct

from libs.kube.tokens import Reviewer
from libs.model.ids import SpiffeId
from libs.pki import jwk, tokens
from libs.pki.errors import PkiError
from libs.rpc import peer
from libs.rpc.errors import CredentialError
from libs.rpc.peer import Context
from libs.runtime.clock import Clock

logger = logging.getLogger(__name__)

Authenticate = Callable[[Context], Awaitable[SpiffeId]]
"""Raises CredentialError, TokenError or TokenRefusedError if a call proves no identity, and another
KubeError if that cannot be known now."""

Prove = Callable[[str], Awaitable[SpiffeId]]
"""Returns whom a token proves; raises like Authenticate."""


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
    """Which tokens are believed where there is no cluster to ask."""

    keys: TokenKeys
    issuer: str
    audience: str


def by_keys(rules: TokenRules, *, trust_domain: str, clock: Clock) -> Prove:
    """Believe tokens that keys at hand verify."""

    async def prove(token: str) -> SpiffeId:
        policy = tokens.Policy(rules.keys.keys, rules.issuer, rules.audience)
        return tokens.verify(token, policy, now=clock.now()).identity(trust_domain)

    return prove


def by_review(reviewer: Reviewer, *, trust_domain: str) -> Prove:
    """Believe tokens that the API server believes."""

    async def prove(token: str) -> SpiffeId:
        found = await reviewer.review(token)
        return SpiffeId(trust_domain, found.namespace, found.service_account)

    return prove


def by_token(prove: Prove) -> Authenticate:
    """Believe a service account token."""

    async def authenticate(context: Context) -> SpiffeId:
        return await prove(peer.bearer_token(context))

    return authenticate


def by_certificate(*, trust_domain: str) -> Authenticate:
    """Believe a mesh certificate that TLS verified, if it is of our trust domain."""

    async def authenticate(context: Context) -> SpiffeId:
        identity = peer.identity(context)
        if identity is None:
            message = "the call has no client certificate"
            raise CredentialError(message)
        if identity.trust_domain != trust_domain:
            message = "the client certificate is of another trust domain"
            raise CredentialError(message)
        return identity

    return authenticate
