"""Authentication: from a call's credential to an identity, or to a refusal.

Each port believes one kind of credential. Nothing else of a call, not its address, not its headers,
not its body, has a say in who it is from.
"""

from collections.abc import Callable

from libs.model.ids import SpiffeId
from libs.pki import tokens
from libs.rpc import peer
from libs.rpc.errors import CredentialError
from libs.rpc.peer import Context
from libs.runtime.clock import Clock

Authenticate = Callable[[Context], SpiffeId]
"""Raises CredentialError or TokenError if the call proves no identity."""


def by_token(
    policy: Callable[[], tokens.Policy], *, trust_domain: str, clock: Clock
) -> Authenticate:
    """Believe a service account token: its namespace and account, in our trust domain."""

    def authenticate(context: Context) -> SpiffeId:
        token = peer.bearer_token(context)
        return tokens.verify(token, policy(), now=clock.now()).identity(trust_domain)

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
