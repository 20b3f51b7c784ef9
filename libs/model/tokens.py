"""What is wanted of tokens: which issuers a workload believes, and where their tokens stand."""

from msgspec import Struct

from libs.model.ids import Ref

NOBODY = (
    '{"crv":"P-256","kid":"nobody","kty":"EC","use":"sig",'
    '"x":"A9N79vPSrR09NK1PreDyO-nWLeXakFq_cQWUdZlcyUQ",'
    '"y":"CPqz2wE1NSLMon7T2QUXUud5ISDwyfWSem1CeiVIh68"}'
)
"""A public key, in JSON, whose private key nobody has: its point was made by hashing a text.

Envoy refuses a set in which it finds no key at all, and would go on with what it had before.
"""


class TokenHeader(Struct, frozen=True, gc=False, omit_defaults=True):
    """A header that carries a token behind `prefix`."""

    name: str
    prefix: str = ""


class ClaimHeader(Struct, frozen=True, gc=False):
    """A header of the request that gets the value of a claim; `claim` is a dotted path."""

    header: str
    claim: str


class TokenRule(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """How tokens of one issuer are verified.

    `keys` is a JSON Web Key Set of public keys, the last one NOBODY. Empty: the issuer's keys are
    not known now, so that no token of it is valid.
    """

    issuer: str = ""
    audiences: tuple[str, ...] = ()
    keys: str = ""
    source: str = ""  # the name of the key set that discovery fetches; empty if keys are written
    headers: tuple[TokenHeader, ...] = ()
    parameters: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()
    payload_header: str = ""
    claim_headers: tuple[ClaimHeader, ...] = ()
    forward: bool = False
    timeout: int = 5_000  # of fetching keys, in milliseconds
    space_delimited_claims: tuple[str, ...] = ()
    required: bool = False  # a request without such a token is refused


class TokenPolicy(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The tokens that the workloads of `selector` (or the gateways of `targets`) verify."""

    ref: Ref
    namespace: str
    name: str
    created: int = 0
    selector: dict[str, str] = {}
    targets: tuple[
        str, ...
    ] = ()  # gateways, `<kind>/<name>`; a policy with targets has no selector
    rules: tuple[TokenRule, ...] = ()
