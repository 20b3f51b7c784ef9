import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from libs.pki import keys
from libs.pki.errors import UnusableKeyError
from tests.support.pki import curve


def pem(key: object) -> bytes:
    return key.private_bytes(  # type: ignore[attr-defined, no-any-return]
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def test_our_own_keys_are_p256_and_come_back() -> None:
    key = keys.generate()
    assert isinstance(key.curve, ec.SECP256R1)
    loaded = keys.load(keys.to_pem(key))
    assert keys.spki(loaded.public_key()) == keys.spki(key.public_key())
    assert keys.spki(keys.load_public(keys.public_pem(key))) == keys.spki(key.public_key())


@pytest.mark.parametrize(
    "key",
    [curve("P-384"), rsa.generate_private_key(65537, 2048)],
    ids=["P-384", "RSA 2048"],
)
def test_accepted_from_others(key: keys.PrivateKey) -> None:
    assert keys.load(pem(key)).key_size == key.key_size


@pytest.mark.parametrize(
    "key",
    [
        curve("P-224"),
        rsa.generate_private_key(65537, 1024),  # noqa: S505  # refused
        rsa.generate_private_key(3, 2048),
        ed25519.Ed25519PrivateKey.generate(),
        dsa.generate_private_key(1024),  # noqa: S505  # refused
    ],
    ids=["P-224", "RSA 1024", "RSA exponent 3", "Ed25519", "DSA"],
)
def test_refused_kinds(key: object) -> None:
    with pytest.raises(UnusableKeyError):
        keys.load(pem(key))


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", keys.public_pem(keys.generate()), b"A" * (keys.MAX_KEY_BYTES + 1)],
    ids=["empty", "nonsense", "public", "too large"],
)
def test_refused_contents(content: bytes) -> None:
    with pytest.raises(UnusableKeyError):
        keys.load(content)


def test_an_encrypted_key_is_refused() -> None:
    encrypted = keys.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"hush"),
    )
    with pytest.raises(UnusableKeyError):
        keys.load(encrypted)


def test_a_generated_key_file_is_private_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key.pem"
    first = keys.load_or_generate(path)
    again = keys.load_or_generate(path)
    assert keys.spki(first.public_key()) == keys.spki(again.public_key())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["key.pem"]
