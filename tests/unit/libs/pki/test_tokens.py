import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from libs.pki import jwk, keys, tokens
from libs.pki.errors import TokenError
from tests.support.pki import BOB, NOW
from tests.support.tokens import POD, changed, claims_of, honest, refused, rs256

KEY = keys.generate()
POLICY = tokens.Policy(jwk.load(keys.public_pem(KEY)))
TOKEN = honest(BOB, KEY, NOW)
REFUSED = refused(BOB, KEY, NOW)


def test_an_honest_token_proves_its_account() -> None:
    claims = tokens.verify(TOKEN, POLICY, now=NOW + 1800)
    assert claims.identity("cluster.local") == BOB
    assert claims.binding.pod == POD


@pytest.mark.parametrize(
    "token",
    [
        changed(TOKEN, KEY, aud=["istio-ca", "other"]),
        changed(TOKEN, KEY, aud="istio-ca"),
        changed(TOKEN, KEY, nbf=NOW + 5, iat=NOW + 5),
        changed(TOKEN, KEY, jti="5a", warnafter=NOW),
    ],
    ids=["two audiences", "audience as text", "clock five seconds behind", "further claims"],
)
def test_accepted(token: str) -> None:
    assert tokens.verify(token, POLICY, now=NOW).identity("td") is not None


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED.keys())
def test_refused(token: str) -> None:
    with pytest.raises(TokenError):
        tokens.verify(token, POLICY, now=NOW).identity("cluster.local")


def test_it_expires_to_the_second() -> None:
    tokens.verify(TOKEN, POLICY, now=NOW + 3599)
    with pytest.raises(TokenError, match="expired"):
        tokens.verify(TOKEN, POLICY, now=NOW + 3600)


def test_rsa_keys_of_a_cluster_verify_rs256_only() -> None:
    key = rsa.generate_private_key(65537, 2048)
    policy = tokens.Policy(jwk.load(keys.public_pem(key)))
    tokens.verify(rs256(claims_of(TOKEN), key), policy, now=NOW)
    for algorithm in ("RS512", "PS256", "ES256", "none"):
        with pytest.raises(TokenError):
            tokens.verify(rs256(claims_of(TOKEN), key, algorithm), policy, now=NOW)


def test_refusals_do_not_quote_the_token() -> None:
    for token in filter(None, REFUSED.values()):
        with pytest.raises(TokenError) as caught:
            tokens.verify(token, POLICY, now=NOW).identity("cluster.local")
        assert not any(len(part) > 3 and part in str(caught.value) for part in token.split("."))


@given(st.text(max_size=200))
def test_any_text_is_refused_and_nothing_else(text: str) -> None:
    with pytest.raises(TokenError):
        tokens.verify(text, POLICY, now=NOW)


@given(st.integers(0, len(TOKEN) - 1), st.characters(codec="ascii"))
def test_no_changed_character_goes_unnoticed(position: int, character: str) -> None:
    token = TOKEN[:position] + character + TOKEN[position + 1 :]
    if token == TOKEN:
        return
    with pytest.raises(TokenError):
        tokens.verify(token, POLICY, now=NOW)
