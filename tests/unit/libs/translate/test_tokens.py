"""RequestAuthentications as rows, and how fetched keys find their way into them."""

import json

from libs.api.check import check
from libs.api.resource import Metadata
from libs.api.security.key_set import KeySet, key_set_ref
from libs.api.security.request_authentication import RequestAuthentication
from libs.model.settings import MeshSettings
from libs.model.tokens import ClaimHeader, TokenHeader, TokenPolicy
from libs.translate.apply import Remove, State, Step, Upsert, apply, initial

KEYS = '{"keys":[{"kty":"EC","crv":"P-256","x":"eA","y":"eQ"}]}'
URL = "https://issuer.example/keys"


def policy(rules: str, more: str = "") -> RequestAuthentication:
    text = (
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\n"
        f"metadata: {{name: t, namespace: shop}}\nspec: {{jwtRules: [{rules}]{more}}}\n"
    )
    (found,) = check(text, "test.yaml")
    assert isinstance(found.resource, RequestAuthentication), found.errors
    return found.resource


def fetched(keys: str = KEYS, fault: str = "", name: str = f"keys:{URL}") -> Upsert:
    return Upsert(KeySet(Metadata(name=name), keys, fault))


def step(*events: Upsert | Remove, state: State | None = None) -> Step:
    return apply(state or initial(MeshSettings()), events)


def row(done: Step) -> TokenPolicy:
    (found,) = done.state.mesh.token_policies.values()
    return found


def test_every_field() -> None:
    rule = """{issuer: i, audiences: [a], jwksUri: "https://issuer.example/keys",
      fromHeaders: [{name: x, prefix: "T "}], fromParams: [p], fromCookies: [c],
      outputPayloadToHeader: out, outputClaimToHeaders: [{header: h, claim: c}],
      forwardOriginalToken: true, timeout: 2s, spaceDelimitedClaims: [roles]}"""
    (made,) = row(step(Upsert(policy(rule, ", selector: {matchLabels: {a: b}}")))).rules
    assert (made.issuer, made.audiences, made.source) == ("i", ("a",), f"keys:{URL}")
    assert made.headers == (TokenHeader("x", "T "),)
    assert (made.parameters, made.cookies) == (("p",), ("c",))
    assert (made.payload_header, made.claim_headers) == ("out", (ClaimHeader("h", "c"),))
    assert (made.forward, made.timeout) == (True, 2000)
    assert made.space_delimited_claims == ("roles",)


def test_keys_arrive_change_and_go() -> None:
    waiting = step(Upsert(policy(f"{{issuer: i, jwksUri: {URL!r}}}")))
    assert row(waiting).rules[0].keys == ""
    assert [problem.reason for problem in waiting.problems] == ["KeysUnavailable"]
    there = step(fetched(), state=waiting.state)
    assert row(there).rules[0].keys == KEYS
    assert there.problems == ()
    old = step(fetched(fault="status 500"), state=there.state)
    assert row(old).rules[0].keys == KEYS
    assert "old" in old.problems[0].text
    lost = step(fetched("", "status 500"), state=old.state)
    assert row(lost).rules[0].keys == ""
    gone = step(Remove(key_set_ref(f"keys:{URL}")), state=there.state)
    assert row(gone).rules[0].keys == ""


def test_an_issuer_alone_is_asked_where_its_keys_are() -> None:
    name = "issuer:https://issuer.example"
    done = step(Upsert(policy("{issuer: 'https://issuer.example'}")), fetched(name=name))
    assert row(done).rules[0].source == name
    assert row(done).rules[0].keys == KEYS


def test_written_keys_need_no_fetching_and_lose_their_private_part() -> None:
    written = json.dumps(json.dumps({"keys": [{**json.loads(KEYS)["keys"][0], "d": "private"}]}))
    (made,) = row(step(Upsert(policy(f"{{issuer: i, jwks: {written}}}")))).rules
    assert made.source == ""
    assert '"x":"eA"' in made.keys
    assert "private" not in made.keys


def test_bad_written_keys_make_no_token_good() -> None:
    resource = policy('{issuer: i, jwks: \'{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}\'}')
    done = step(Upsert(resource))
    assert row(done).rules[0].keys == ""
    assert [problem.path for problem in done.problems] == ["spec.jwtRules[0]"]


def test_targets() -> None:
    gateway = "{group: gateway.networking.k8s.io, kind: Gateway, name: g}"
    done = step(Upsert(policy("{issuer: i, jwksUri: 'https://x'}", f", targetRefs: [{gateway}]")))
    assert row(done).targets == ("Gateway/g",)
    for_service = policy(
        "{issuer: i, jwksUri: 'https://x'}", ", targetRef: {kind: Service, name: s}"
    )
    assert not step(Upsert(for_service)).state.mesh.token_policies


# proves: RequestAuthentication spec.jwtRules[].timeout
def test_how_long_keys_may_take_is_said_by_the_rule() -> None:
    rules = f"{{issuer: a, jwksUri: {URL}, timeout: 2s}}, {{issuer: b, jwksUri: {URL}}}"
    state = apply(initial(MeshSettings()), [Upsert(policy(rules))]).state
    (row,) = state.mesh.token_policies.values()
    assert [(it.issuer, it.timeout) for it in row.rules] == [("a", 2000), ("b", 5000)]
