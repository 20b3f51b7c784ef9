"""Tokens: the issuers that a workload believes, as Envoy's JWT filter.

A request without a token passes, one with a bad token does not: which token a request needs is
said by access policies. The rules of all policies are one filter, by issuer; their providers are
`origins-<index>`. The claims stand in dynamic metadata of the filter under `payload`.
"""

from collections.abc import Iterable, Sequence

from envoy.config.core.v3.base_pb2 import DataSource
from envoy.config.route.v3.route_components_pb2 import RouteMatch
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import (
    JwtAuthentication,
    JwtClaimToHeader,
    JwtHeader,
    JwtProvider,
    JwtRequirement,
    JwtRequirementAndList,
    JwtRequirementOrList,
    RequirementRule,
)
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from google.protobuf.empty_pb2 import Empty

from libs.model.tokens import NOBODY, TokenPolicy, TokenRule
from libs.xds.generate import typed

NAME = "envoy.filters.http.jwt_authn"
PAYLOAD = "payload"

_SPACE_DELIMITED = ("scope", "permission")  # as OAuth writes them
_NO_KEYS = f'{{"keys":[{NOBODY}]}}'


def http_filters(
    policies: Iterable[TokenPolicy], *, routes_by_claims: bool = False
) -> list[hcm.HttpFilter]:
    """Return the filter that verifies tokens, or nothing if no issuer is believed.

    With `routes_by_claims` the route of a request is chosen once more when its claims are known.
    """
    rules = sorted((rule for policy in policies for rule in policy.rules), key=_by_issuer)
    if not rules:
        return []
    names = [f"origins-{index}" for index in range(len(rules))]
    providers = {name: _provider(rule) for name, rule in zip(names, rules, strict=True)}
    needed = RequirementRule(match=RouteMatch(prefix="/"), requires=_requirement(names, rules))
    for provider in providers.values():
        provider.clear_route_cache = routes_by_claims
    config = JwtAuthentication(providers=providers, rules=[needed], bypass_cors_preflight=True)
    return [typed.http_filter(NAME, config)]


def _by_issuer(rule: TokenRule) -> str:
    return rule.issuer


def _provider(rule: TokenRule) -> JwtProvider:
    claims = dict.fromkeys((*_SPACE_DELIMITED, *rule.space_delimited_claims))
    return JwtProvider(
        issuer=rule.issuer,
        audiences=rule.audiences,
        local_jwks=DataSource(inline_string=rule.keys or _NO_KEYS),
        forward=rule.forward,
        forward_payload_header=rule.payload_header,
        payload_in_metadata=PAYLOAD,
        normalize_payload_in_metadata=JwtProvider.NormalizePayload(space_delimited_claims=claims),
        from_headers=[JwtHeader(name=it.name, value_prefix=it.prefix) for it in rule.headers],
        from_params=rule.parameters,
        from_cookies=rule.cookies,
        claim_to_headers=[
            JwtClaimToHeader(header_name=it.header, claim_name=it.claim)
            for it in rule.claim_headers
        ],
    )


def _requirement(names: Sequence[str], rules: Sequence[TokenRule]) -> JwtRequirement:
    """Each token that must be there, and of the others any one, or several good ones, or none."""
    pairs = list(zip(names, rules, strict=True))
    required = [JwtRequirement(provider_name=name) for name, rule in pairs if rule.required]
    optional = [JwtRequirement(provider_name=name) for name, rule in pairs if not rule.required]
    if not optional:
        return _all_of(required)
    missing = JwtRequirement(allow_missing=Empty())
    if len(optional) == 1:
        rest = _any_of([*optional, missing])
    else:
        each = [_any_of([one, missing]) for one in optional]
        rest = _any_of([*optional, _all_of(each)])
    return _all_of([*required, rest])


def _any_of(requirements: Iterable[JwtRequirement]) -> JwtRequirement:
    return JwtRequirement(requires_any=JwtRequirementOrList(requirements=requirements))


def _all_of(requirements: Sequence[JwtRequirement]) -> JwtRequirement:
    if len(requirements) == 1:
        return requirements[0]
    return JwtRequirement(requires_all=JwtRequirementAndList(requirements=requirements))
