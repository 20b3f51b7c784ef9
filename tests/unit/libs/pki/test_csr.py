import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from libs.pki import bundle, csr, keys
from libs.pki.errors import CsrError
from tests.support.pki import BOB, curve, request_by_hand, root

KEY = keys.generate()
GOOD = csr.make(KEY, BOB)


def test_a_request_gives_its_key() -> None:
    assert keys.spki(csr.public_key(GOOD)) == keys.spki(KEY.public_key())


def test_key_and_request_made_together_fit() -> None:
    key, request = csr.make_with_key(BOB)
    assert keys.spki(csr.public_key(request)) == keys.spki(keys.load(key).public_key())


@pytest.mark.parametrize(
    "request_pem",
    [
        request_by_hand(curve("P-384"), algorithm=hashes.SHA384()),
        request_by_hand(rsa.generate_private_key(65537, 2048), algorithm=hashes.SHA256()),
        b"\n" + GOOD.replace(b"\n", b"\r\n") + b"\n\n",
        GOOD.replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST"),
    ],
    ids=["P-384", "RSA 2048", "CRLF", "old header"],
)
def test_accepted(request_pem: bytes) -> None:
    csr.public_key(request_pem)


def changed_signature() -> bytes:
    request = x509.load_pem_x509_csr(GOOD)
    der = bytearray(request.public_bytes(csr.serialization.Encoding.DER))
    der[-1] ^= 1
    return b64(bytes(der))


def changed_key() -> bytes:
    """A request that somebody else signed: their signature, a victim's key."""
    mine = x509.load_pem_x509_csr(GOOD).public_bytes(csr.serialization.Encoding.DER)
    victim = keys.spki(keys.generate().public_key())
    return b64(mine.replace(keys.spki(KEY.public_key()), victim))


def b64(der: bytes) -> bytes:
    body = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + body + b"-----END CERTIFICATE REQUEST-----\n"


REFUSED = {
    "RSA 1024": request_by_hand(rsa.generate_private_key(65537, 1024), algorithm=hashes.SHA256()),  # noqa: S505  # refused
    "P-224": request_by_hand(curve("P-224"), algorithm=hashes.SHA256()),
    "Ed25519": request_by_hand(ed25519.Ed25519PrivateKey.generate()),
    "weak hash": request_by_hand(KEY, algorithm=hashes.SHA224()),
    "wrong signature": changed_signature(),
    "another's key": changed_key(),
    "empty": b"",
    "nonsense": b"hello",
    "two blocks": GOOD + GOOD,
    "trailing text": GOOD + b"garbage",
    "leading text": b"garbage" + GOOD,
    "trailing DER": b64(
        x509.load_pem_x509_csr(GOOD).public_bytes(csr.serialization.Encoding.DER) + b"\0"
    ),
    "a certificate": bundle.to_pem(root().roots),
    "a key": keys.to_pem(KEY),
    "too large": GOOD + b"\n" * csr.MAX_CSR_BYTES,
    "truncated": GOOD[:-60],
    "not base64": GOOD.replace(b"MII", b"M!I"),
}


@pytest.mark.parametrize("request_pem", REFUSED.values(), ids=REFUSED.keys())
def test_refused(request_pem: bytes) -> None:
    with pytest.raises(CsrError):
        csr.public_key(request_pem)


def test_rsa_16384_is_refused_without_a_long_computation() -> None:
    # Made once; generating such a key takes minutes.
    numbers = rsa.RSAPublicNumbers(65537, (1 << 16383) + 1)
    mine = x509.load_pem_x509_csr(GOOD).public_bytes(csr.serialization.Encoding.DER)
    spki = numbers.public_key().public_bytes(
        csr.serialization.Encoding.DER, csr.serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pem = b64(rewrapped(mine, spki))
    with pytest.raises(CsrError):
        csr.public_key(pem)


def rewrapped(der: bytes, spki: bytes) -> bytes:
    """Replace the key of a request and mend the lengths around it."""
    own = keys.spki(KEY.public_key())
    info_start = 4 if der[1] == 0x82 else 3 if der[1] == 0x81 else 2
    body = der[info_start:]
    head = 4 if body[1] == 0x82 else 3 if body[1] == 0x81 else 2
    length = int.from_bytes(body[2:head]) if head > 2 else body[1]
    info, rest = body[head : head + length], body[head + length :]
    return sequence(sequence(info.replace(own, spki)) + rest)


def sequence(content: bytes) -> bytes:
    return b"\x30\x82" + len(content).to_bytes(2) + content


def test_no_changed_byte_of_what_is_signed_is_accepted_and_none_raises_anything_else() -> None:
    signed = x509.load_pem_x509_csr(GOOD).tbs_certrequest_bytes
    der = x509.load_pem_x509_csr(GOOD).public_bytes(csr.serialization.Encoding.DER)
    accepted = []
    for position in range(len(der)):
        for bit in (0, 3, 7):
            changed = bytearray(der)
            changed[position] ^= 1 << bit
            pem = b64(bytes(changed))
            try:
                csr.public_key(pem)
            except CsrError:
                continue
            if x509.load_pem_x509_csr(pem).tbs_certrequest_bytes != signed:
                accepted.append((position, bit))
    assert accepted == []


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_and_nothing_else(raw: bytes) -> None:
    for pem in (raw, b64(raw)):
        with pytest.raises(CsrError):
            csr.public_key(pem)
