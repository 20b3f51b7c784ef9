"""The filter that verifies tokens: whose come first, what is required, and of whom."""

from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication, JwtRequirement

from libs.model.tokens import NOBODY, TokenRule
from libs.xds.generate.filters import jwt
from tests.support import mesh as rows

A, B = TokenRule(issuer="a", keys="A"), TokenRule(issuer="b")


def config(*rules: TokenRule, edge: bool = False) -> JwtAuthentication:
    policies = [rows.token_policy(str(index), rules=(rule,)) for index, rule in enumerate(rules)]
    (found,) = jwt.http_filters(policies, routes_by_claims=edge)
    return JwtAuthentication.FromString(found.typed_config.value)


def shape(needed: JwtRequirement) -> object:
    """Return a requirement as nested tuples."""
    match needed.WhichOneof("requires_type"):
        case "provider_name":
            return needed.provider_name.removeprefix("origins-")
        case "requires_any":
            return ("any", *map(shape, needed.requires_any.requirements))
        case "requires_all":
            return ("all", *map(shape, needed.requires_all.requirements))
    return needed.WhichOneof("requires_type")


def required(*rules: TokenRule) -> object:
    return shape(config(*rules).rules[0].requires)


def test_without_rules_there_is_no_filter() -> None:
    assert jwt.http_filters([], routes_by_claims=False) == []
    assert jwt.http_filters([rows.token_policy("t")], routes_by_claims=False) == []


def test_providers_are_ordered_by_issuer() -> None:
    found = config(B, A).providers
    assert (found["origins-0"].issuer, found["origins-1"].issuer) == ("a", "b")


def test_what_a_request_needs() -> None:
    must = TokenRule(issuer="c", required=True)
    assert required(A) == ("any", "0", "allow_missing")
    assert required(A, B) == (
        "any",
        "0",
        "1",
        ("all", ("any", "0", "allow_missing"), ("any", "1", "allow_missing")),
    )
    assert required(must) == "0"
    assert required(A, must) == ("all", "1", ("any", "0", "allow_missing"))


def test_an_issuer_whose_keys_are_unknown_has_nobodys() -> None:
    found = config(A, B).providers
    assert found["origins-0"].local_jwks.inline_string == "A"
    assert found["origins-1"].local_jwks.inline_string == f'{{"keys":[{NOBODY}]}}'


def test_routes_of_gateways_may_match_claims() -> None:
    assert config(A, edge=True).providers["origins-0"].clear_route_cache
    assert not config(A).providers["origins-0"].clear_route_cache


def test_preflights_need_no_token() -> None:
    assert config(A).bypass_cors_preflight
