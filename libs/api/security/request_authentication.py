"""RequestAuthentication: which tokens (JWT) a workload trusts, and where requests carry them."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from libs.api.resource import IstioResource, Message
from libs.api.scalars import Duration
from libs.api.selector import TargetReference, WorkloadSelector

Text = Annotated[str, Meta(min_length=1)]


class TokenHeader(Message, frozen=True):
    """A header that holds a token, after `prefix`."""

    name: Text
    prefix: str = ""


class ClaimHeader(Message, frozen=True):
    """A header to which a claim of a good token is copied."""

    header: Text
    claim: Text


class Presence(StrEnum):
    """Whether a request without a token is let in."""

    OPTIONAL = "OPTIONAL"
    REQUIRED = "REQUIRED"


class JwtRule(Message, frozen=True):
    """One issuer of tokens, and how its tokens are found and checked."""

    issuer: Text | None = None
    audiences: tuple[Text, ...] = ()
    jwks_uri: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
    jwks: str = ""
    from_headers: tuple[TokenHeader, ...] = ()
    from_params: tuple[Text, ...] = ()
    from_cookies: tuple[Text, ...] = ()
    output_payload_to_header: str = ""
    output_claim_to_headers: tuple[ClaimHeader, ...] = ()
    forward_original_token: bool = False
    timeout: Duration | None = None
    space_delimited_claims: Annotated[tuple[Text, ...], Meta(max_length=64)] = ()
    presence: Presence = Presence.OPTIONAL


class RequestAuthenticationSpec(Message, frozen=True):
    """Fields of the kind."""

    selector: WorkloadSelector | None = None
    target_ref: TargetReference | None = None
    target_refs: Annotated[tuple[TargetReference, ...], Meta(max_length=16)] = ()
    jwt_rules: Annotated[tuple[JwtRule, ...], Meta(max_length=4096)] = ()


class RequestAuthentication(IstioResource, frozen=True):
    """The kind."""

    spec: RequestAuthenticationSpec = RequestAuthenticationSpec()
