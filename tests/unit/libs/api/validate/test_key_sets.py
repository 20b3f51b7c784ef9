import pytest

from tests.support.rulings import manifest, ruling

PUBLIC = '{"kty":"RSA","n":"AQAB","e":"AQAB"}'


def of_keys(jwks: str) -> list[str]:
    found = ruling(manifest("RequestAuthentication", f"jwtRules: [{{issuer: a, jwks: '{jwks}'}}]"))
    return [line.replace("spec.jwtRules[0].", "") for line in found]


@pytest.mark.parametrize(
    "good",
    [
        '{"keys":[]}',
        f'{{"keys":[{PUBLIC}]}}',
        PUBLIC,
        '{"kty":"EC","crv":"P-256","x":"AQAB","y":"AQAB","kid":"a"}',
        '{"kty":"OKP","crv":"Ed25519","x":"AQAB"}',
    ],
)
def test_public_keys(good: str) -> None:
    assert of_keys(good) == []


@pytest.mark.parametrize(
    "bad",
    [
        "x",
        "[]",
        "{}",
        '{"keys":1}',
        '{"keys":[1]}',
        '{"keys":[{"kty":"X"}]}',
        '{"keys":[{"kty":"RSA","n":"AQAB"}]}',
        '{"keys":[{"kty":"EC","crv":"P-256","x":"!","y":"AQAB"}]}',
        "[" * 100_000,
    ],
)
def test_what_is_no_key(bad: str) -> None:
    assert of_keys(bad) == ["jwks InvalidKeySet"]


@pytest.mark.parametrize(
    "private", ['{"kty":"oct","k":"AQAB"}', f'{{"keys":[{PUBLIC[:-1]},"d":"AQAB"}}]}}']
)
def test_private_keys_are_warned_of(private: str) -> None:
    assert of_keys(private) == ["warning jwks PrivateKey"]
