"""Which keys may reach a proxy."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from libs.model.tokens import NOBODY
from libs.pki import base64url
from libs.translate import key_sets

LARGE = (1 << 2047) + 1
EC = {"kty": "EC", "crv": "P-256", "x": "eA", "y": "eQ", "kid": "ec"}
SECRET = {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"}


def number(value: int) -> str:
    return base64url.encode(value.to_bytes((value.bit_length() + 7) // 8))


def rsa_key(modulus: int = LARGE, exponent: int = 65537, **more: str) -> dict[str, str]:
    return {"kty": "RSA", "n": number(modulus), "e": number(exponent), "kid": "rsa", **more}


def usable(*found: object, secrets: bool = False) -> list[dict[str, Any]]:
    rows = json.loads(key_sets.public(json.dumps({"keys": found}), secrets=secrets))["keys"]
    assert rows.pop() == json.loads(NOBODY)
    return rows  # type: ignore[no-any-return]


def test_public_keys_stay_as_they_are() -> None:
    assert usable(EC, rsa_key()) == [EC, rsa_key()]


def test_private_parts_are_taken_out() -> None:
    private = dict.fromkeys(("d", "p", "q", "dp", "dq", "qi", "oth", "k"), "x")
    assert usable({**EC, **private}, rsa_key(**private)) == [EC, rsa_key()]


@pytest.mark.parametrize(
    "weak",
    [
        rsa_key((1 << 1023) + 1),
        rsa_key(LARGE + 1),
        rsa_key(exponent=1),
        rsa_key(use="enc"),
        {**EC, "x": 1},
        {"kty": "EC", "crv": "P-256"},
        {"kty": "none"},
        {"kty": ["RSA"]},
        {},
        SECRET,
    ],
)
def test_keys_that_prove_nothing_are_left_out(weak: dict[str, Any]) -> None:
    assert usable(weak, EC) == [EC]
    with pytest.raises(key_sets.KeySetError, match="none of its keys"):
        usable(weak)


def test_a_secret_may_be_written_but_not_fetched() -> None:
    assert usable(SECRET, secrets=True) == [SECRET]


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"keys": 1}', '{"keys": ["x"]}', "<html>", "[" * 100_000, b"\xff"],
)
def test_garbage_is_no_key_set(text: str | bytes) -> None:
    with pytest.raises(key_sets.KeySetError):
        key_sets.public(text)


def test_too_many_keys() -> None:
    with pytest.raises(key_sets.KeySetError, match="more than"):
        usable(*[EC] * (key_sets.MAX_KEYS + 1))


def test_the_key_of_nobody_is_a_point_that_was_made_by_hashing() -> None:
    from hashlib import sha256  # noqa: PLC0415 - for this proof alone

    row = json.loads(NOBODY)
    x = int.from_bytes(sha256(b"nobody has the key of this point 0").digest())
    assert base64url.decode(row["x"]) == x.to_bytes(32)
    y = int.from_bytes(base64url.decode(row["y"]))
    ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
