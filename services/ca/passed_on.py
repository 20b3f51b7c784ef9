"""Passed on: requests that a service of ours brings for somebody else.

Agents made for Istio ask for certificates where they ask for configuration, at config-push. It
passes the request and the caller's credential on, over mutual TLS with its own certificate:

- a token is passed as it came, and reviewed here: config-push need not be believed;
- for a caller with a client certificate config-push says which identity TLS verified, since nobody
  can pass a handshake on. That is believed of the accounts in `forwarders` alone, and never for an
  account of the system namespace: whoever takes config-push over gets no other service of ours.

The caller's address comes along, for the limits. From anybody else these headers mean nothing.
"""

from collections.abc import Collection

from msgspec import Struct

from libs.model.ids import SpiffeId, parse_spiffe_id
from libs.rpc import peer
from libs.rpc.errors import CredentialError
from libs.rpc.passing import ADDRESS, IDENTITY, single
from libs.rpc.peer import Context
from services.ca import authn, metrics
from services.ca.caller import Authenticate, Caller, Prove


class Forwarders(Struct, frozen=True):
    """Who may pass on."""

    accounts: Collection[str]
    trust_domain: str
    system_namespace: str

    def __contains__(self, identity: object) -> bool:
        """Tell whether `identity` is one of ours that may pass on."""
        return (
            isinstance(identity, SpiffeId)
            and identity.trust_domain == self.trust_domain
            and identity.namespace == self.system_namespace
            and identity.service_account in self.accounts
        )


def by_certificate(forwarders: Forwarders, prove: Prove) -> Authenticate:
    """Believe a mesh certificate, and of a forwarder's what it may pass on."""

    async def authenticate(context: Context) -> Caller:
        own = authn.verified(context, forwarders.trust_domain)
        if own not in forwarders or not _brings_another(context):
            return Caller(own)
        metrics.PASSED_ON.inc()
        said = single(context, IDENTITY)
        if not said:
            return await prove(peer.bearer_token(context))
        if peer.has_bearer_token(context):
            message = "a token and an identity were passed on"
            raise CredentialError(message)
        return Caller(_asserted(said, forwarders))

    return authenticate


def address(context: Context, forwarders: Forwarders) -> str:
    """Return the address for limits: the original caller's, if a forwarder says it."""
    try:
        if peer.identity(context) in forwarders and (said := single(context, ADDRESS)):
            return said
    except CredentialError:
        pass  # refused with its reason by whoever authenticates
    return peer.address(context)


def _brings_another(context: Context) -> bool:
    return peer.has_bearer_token(context) or bool(single(context, IDENTITY))


def _asserted(said: str, forwarders: Forwarders) -> SpiffeId:
    try:
        identity = parse_spiffe_id(said)
    except ValueError as error:
        message = "the identity that was passed on is not that of a service"
        raise CredentialError(message) from error
    if identity.trust_domain != forwarders.trust_domain:
        message = "the identity that was passed on is of another trust domain"
        raise CredentialError(message)
    if identity.namespace == forwarders.system_namespace:
        message = "identities of the system namespace are not passed on"
        raise CredentialError(message)
    return identity
