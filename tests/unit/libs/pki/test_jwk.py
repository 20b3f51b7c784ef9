import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from libs.pki import base64url, jwk, keys
from libs.pki.errors import UnusableKeyError
from tests.support.pki import curve

ONE, TWO = keys.generate(), keys.generate()
RSA = rsa.generate_private_key(65537, 2048)


def test_pem_and_jwks_give_the_same_keys() -> None:
    pem = jwk.load(keys.public_pem(ONE) + keys.public_pem(TWO))
    document = jwk.load(jwk.document(ONE.public_key(), TWO.public_key()))
    assert set(pem) == set(document) == {jwk.key_id(k.public_key()) for k in (ONE, TWO)}


def test_an_rsa_key_of_a_cluster_is_read() -> None:
    numbers = RSA.public_key().public_numbers()
    row = {
        "kty": "RSA",
        "kid": "a",
        "alg": "RS256",
        "n": base64url.encode(numbers.n.to_bytes(256)),
        "e": "AQAB",
    }
    found = jwk.load(json.dumps({"keys": [row]}).encode())
    assert keys.spki(found["a"]) == keys.spki(RSA.public_key())


def row(**changes: object) -> bytes:
    own = json.loads(jwk.document(ONE.public_key()))["keys"][0]
    return json.dumps({"keys": [{**own, **changes}]}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"keys": []}',
        b'{"keys": [{}]}',
        b'{"keys": 3}',
        b"[" * 100_000,
        row(kty="oct", k="c2VjcmV0"),
        row(crv="P-521"),
        row(x="AAAA"),
        row(y="***"),
        keys.public_pem(curve("P-384")),
        keys.to_pem(ONE),
        keys.public_pem(ONE) * 1 + b"".join(keys.public_pem(keys.generate()) for _ in range(40)),
    ],
    ids=[
        "empty",
        "no keys",
        "no key",
        "empty key",
        "number",
        "nested",
        "shared secret",
        "P-521",
        "off the curve",
        "not base64",
        "P-384",
        "private key",
        "too many",
    ],
)
def test_refused(content: bytes) -> None:
    with pytest.raises(UnusableKeyError):
        jwk.load(content)
