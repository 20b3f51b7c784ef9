"""Tokens verified by a real Envoy: who gets in, where tokens may stand, what becomes of them."""

import json
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import structs

from libs.model.security import AccessPolicy, AccessRule, Action, Condition, Operation, Source
from libs.model.service import Protocol
from libs.model.tokens import ClaimHeader, TokenHeader, TokenPolicy, TokenRule
from libs.pki import base64url, jwk, keys, tokens
from tests.support import mesh as rows
from tests.support import traffic
from tests.support.certificates import TestAuthority
from tests.support.tokens import algorithm_none, hs256_with_the_public_key
from tests.support.workload import Server, Workload, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUER, OTHER = "https://issuer.example", "https://other.example"
KEY, OTHER_KEY, STRANGER = (keys.generate() for _ in range(3))
WORKLOAD = Workload(ports={"http": Protocol.HTTP, "tcp": Protocol.TCP})
END = 4_000_000_000


def key_set(key: ec.EllipticCurvePrivateKey) -> str:
    return jwk.document(key.public_key()).decode()


def token(key: ec.EllipticCurvePrivateKey = KEY, **claims: object) -> str:
    return tokens.sign({"iss": ISSUER, "sub": "ann", "exp": END, **claims}, key)


RULE = TokenRule(issuer=ISSUER, keys=key_set(KEY))
OTHER_RULE = TokenRule(issuer=OTHER, keys=key_set(OTHER_KEY))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serving(TestAuthority(), WORKLOAD, tmp_path_factory.mktemp("envoy")) as running:
        yield running


async def under(server: Server, *rules: TokenRule, policies: tuple[AccessPolicy, ...] = ()) -> None:
    policy: TokenPolicy = rows.token_policy("t", rules=rules)
    await server.apply(structs.replace(WORKLOAD, tokens=(policy,), policies=policies))
    assert await server.envoy.complaints() == []


async def status(server: Server, shown: str = "", path: str = "/", **headers: str) -> int:
    if shown:
        headers["authorization"] = f"Bearer {shown}"
    return (await traffic.http(server.port("http"), path, headers=headers)).status


def allow(rule: AccessRule) -> AccessPolicy:
    return rows.access_policy("allow", action=Action.ALLOW, rules=(rule,))


async def test_a_good_token_passes_and_so_does_none_but_no_bad_one(server: Server) -> None:
    await under(server, RULE)
    assert await status(server, token()) == 200
    assert await status(server) == 200
    assert await status(server, token(STRANGER)) == 401
    assert await status(server, token(exp=1)) == 401
    assert await status(server, token(iss=OTHER)) == 401
    assert await status(server, "rubbish") == 401
    kid = jwk.key_id(KEY.public_key())
    assert await status(server, algorithm_none(token(), kid)) == 401
    assert await status(server, hs256_with_the_public_key(token(), KEY.public_key(), kid)) == 401


async def test_without_known_keys_no_token_is_good(server: Server) -> None:
    await under(server, structs.replace(RULE, keys=""))
    assert await status(server, token()) == 401
    assert await status(server, token(STRANGER)) == 401
    assert await status(server) == 200


async def test_several_issuers(server: Server) -> None:
    await under(server, RULE, OTHER_RULE)
    assert await status(server, token()) == 200
    assert await status(server, token(OTHER_KEY, iss=OTHER)) == 200
    assert await status(server) == 200
    assert await status(server, token(OTHER_KEY)) == 401
    assert await status(server, token(iss=OTHER)) == 401


async def test_a_token_may_be_required(server: Server) -> None:
    await under(server, structs.replace(RULE, required=True))
    assert await status(server, token()) == 200
    assert await status(server) == 401
    await under(server, structs.replace(RULE, required=True), OTHER_RULE)
    assert await status(server, token()) == 200
    assert await status(server) == 401
    assert await status(server, token(OTHER_KEY, iss=OTHER)) == 401


async def test_audiences(server: Server) -> None:
    await under(server, structs.replace(RULE, audiences=("a", "b")))
    assert await status(server, token(aud=["b", "c"])) == 200
    assert await status(server, token(aud="c")) == 403, "good, but for somebody else"
    assert await status(server, token()) == 403


async def test_where_tokens_stand(server: Server) -> None:
    await under(server, RULE)
    assert await status(server, path=f"/?access_token={quote(token(STRANGER))}") == 401
    assert await status(server, path=f"/?access_token={quote(token())}") == 200
    placed = structs.replace(
        RULE, headers=(TokenHeader("x-key", "T "),), parameters=("k",), cookies=("c",)
    )
    needed = allow(AccessRule(sources=(Source(request_principals=("*",)),)))
    await under(server, placed, policies=(needed,))
    good, bad = token(), token(STRANGER)
    assert await status(server, **{"x-key": f"T {good}"}) == 200
    assert await status(server, **{"x-key": f"T {bad}"}) == 401
    assert await status(server, path=f"/?k={quote(good)}") == 200
    assert await status(server, path=f"/?k={quote(bad)}") == 401
    assert await status(server, cookie=f"c={good}") == 200
    assert await status(server, cookie=f"c={bad}") == 401
    assert await status(server, good) == 403, "not where this issuer's tokens stand"


async def echoed(server: Server, shown: str, **more: str) -> dict[str, str]:
    """Return what the application got."""
    headers = {"authorization": f"Bearer {shown}", **more}
    answer = await traffic.http(server.port("http"), "/headers", headers=headers)
    assert answer.status == 200
    lines = (line.partition(": ") for line in answer.body.splitlines())
    return {name.lower(): value for name, _, value in lines}


async def test_what_the_application_gets(server: Server) -> None:
    await under(server, RULE)
    assert "authorization" not in await echoed(server, token())
    outputs = structs.replace(
        RULE,
        forward=True,
        payload_header="x-payload",
        claim_headers=(ClaimHeader("x-sub", "sub"), ClaimHeader("x-role", "nested.role")),
    )
    await under(server, outputs)
    shown = token(nested={"role": "admin"})
    got = await echoed(server, shown, **{"x-sub": "forged"})
    assert got["authorization"] == f"Bearer {shown}"
    assert json.loads(base64url.decode(got["x-payload"]))["sub"] == "ann"
    assert (got["x-sub"], got["x-role"]) == ("ann", "admin")


def when(key: str, *values: str, not_values: tuple[str, ...] = ()) -> AccessRule:
    return AccessRule(conditions=(Condition(key=key, values=values, not_values=not_values),))


def principals(*wanted: str) -> AccessRule:
    return AccessRule(sources=(Source(request_principals=wanted),))


CLAIMS: list[tuple[AccessRule, dict[str, object], dict[str, object]]] = [
    # rule, a token that fits, one that comes near
    (principals(f"{ISSUER}/ann"), {}, {"sub": "anna"}),
    (principals(f"{ISSUER}/*"), {"sub": "x"}, {"sub": ""}),
    (principals("*/ann"), {}, {"sub": "bob"}),
    (when("request.auth.principal", f"{ISSUER}/ann"), {}, {"sub": "bob"}),
    (when("request.auth.audiences", "a"), {"aud": ["b", "a"]}, {"aud": "ab"}),
    (when("request.auth.presenter", "app"), {"azp": "app"}, {"azp": "apps"}),
    (when("request.auth.claims[role]", "admin"), {"role": "admin"}, {"role": "user"}),
    (when("request.auth.claims[role]", "ad*"), {"role": ["x", "admin"]}, {"role": ["x"]}),
    (when("request.auth.claims[a][b]", "c"), {"a": {"b": "c"}}, {"a": {"b": "d"}}),
    (when("request.auth.claims[scope]", "read"), {"scope": "write read"}, {"scope": "reads"}),
    (when("request.auth.claims[mine]", "y"), {"mine": "x y"}, {"mine": "xy"}),
    (when("request.auth.claims[role]", not_values=("user",)), {"role": "a"}, {"role": "user"}),
]


@pytest.mark.parametrize(("rule", "fits", "near"), CLAIMS)
async def test_policies_read_claims(
    server: Server, rule: AccessRule, fits: dict[str, object], near: dict[str, object]
) -> None:
    believed = structs.replace(RULE, space_delimited_claims=("mine",))
    await under(server, believed, policies=(allow(rule),))
    assert await status(server, token(**fits)) == 200
    assert await status(server, token(**near)) == 403
    negated = any(condition.not_values for condition in rule.conditions)
    assert await status(server) == (200 if negated else 403)


async def test_a_request_without_a_token_can_be_refused(server: Server) -> None:
    none = AccessRule(sources=(Source(not_request_principals=("*",)),))
    deny = rows.access_policy("deny", action=Action.DENY, rules=(none,))
    await under(server, RULE, policies=(deny,))
    assert await status(server) == 403
    assert await status(server, token()) == 200


async def test_a_token_is_not_asked_of_a_preflight(server: Server) -> None:
    await under(server, structs.replace(RULE, required=True))
    headers = {"origin": "http://a.example", "access-control-request-method": "GET"}
    answer = await traffic.http(server.port("http"), method="OPTIONS", headers=headers)
    assert answer.status == 200
    plain = await traffic.http(server.port("http"), method="OPTIONS")
    assert plain.status == 401


async def test_a_token_counts_for_requests_alone(server: Server) -> None:
    rule = AccessRule(
        sources=(Source(request_principals=("*",)),), operations=(Operation(paths=("/",)),)
    )
    await under(server, RULE)
    assert (await traffic.exchange(server.port("tcp"), b"\x00hello")).status == 1
    await under(server, RULE, policies=(allow(rule),))
    assert (await traffic.exchange(server.port("tcp"), b"\x00hello")).status == 0
