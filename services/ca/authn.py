"""Authentication: from a call's credential to a caller, or to a refusal.

Each port believes one kind of credential. Nothing else of a call, not its address, not its headers,
not its body, has a say in who it is from. The one exception are our own services that pass others'
requests on: see `services.ca.passed_on`.
"""

from collections.abc import Callable

from libs.kube.tokens import Reviewer
from libs.model.ids import SpiffeId, parse_spiffe_id
from libs.pki import tokens
from libs.pki.errors import TokenError
from libs.rpc import peer
from libs.rpc.errors import CredentialError
from libs.rpc.peer import Context
from libs.runtime.clock import Clock
from services.ca import metrics
from services.ca.caller import Authenticate, Caller, Prove


def by_keys(policy: Callable[[], tokens.Policy], *, trust_domain: str, clock: Clock) -> Prove:
    """Believe tokens that keys at hand verify, where there is no cluster to ask."""

    async def prove(token: str) -> Caller:
        claims = tokens.verify(token, policy(), now=clock.now())
        pod = claims.binding.pod
        return Caller(claims.identity(trust_domain), pod=pod.name, pod_uid=pod.uid)

    return prove


def by_review(reviewer: Reviewer, *, trust_domain: str) -> Prove:
    """Believe tokens that the API server believes."""

    async def prove(token: str) -> Caller:
        found = await reviewer.review(token)
        account = f"spiffe://{trust_domain}/ns/{found.namespace}/sa/{found.service_account}"
        try:
            identity = parse_spiffe_id(account)
        except ValueError as error:
            metrics.ID_EXTRACTION_ERRORS.inc()
            message = "the token names no possible service account"
            raise TokenError(message) from error
        return Caller(identity, pod=found.pod, pod_uid=found.pod_uid, node=found.node)

    return prove


def by_token(prove: Prove) -> Authenticate:
    """Believe a service account token."""

    async def authenticate(context: Context) -> Caller:
        return await prove(peer.bearer_token(context))

    return authenticate


def by_certificate(*, trust_domain: str) -> Authenticate:
    """Believe a mesh certificate that TLS verified, if it is of our trust domain."""

    async def authenticate(context: Context) -> Caller:
        return Caller(verified(context, trust_domain))

    return authenticate


def verified(context: Context, trust_domain: str) -> SpiffeId:
    """Return the identity in the client certificate.

    Raises:
        CredentialError: there is none, or it is of another trust domain.

    """
    identity = peer.identity(context)
    if identity is None:
        message = "the call has no client certificate"
        raise CredentialError(message)
    if identity.trust_domain != trust_domain:
        message = "the client certificate is of another trust domain"
        raise CredentialError(message)
    return identity
