"""Everything that could be wrong with a certificate that we are about to hand out."""

import base64
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from libs.pki import bundle, keys, verify
from libs.pki.authority import Authority
from libs.pki.errors import CertificateError, UnusableKeyError
from libs.pki.template import Template
from tests.support.pki import BOB, NOW, intermediate, key_usage, leaf_by_hand, root

KEY = keys.generate()
ROOT = root()
MEANT = Template(BOB, int(NOW) - 120, int(NOW) + 86_400)
URI = x509.UniformResourceIdentifier(str(BOB))
DAY = 86_400


def check(leaf: bytes, by: Authority = ROOT, roots: Sequence[x509.Certificate] = ()) -> None:
    verify.issued(
        leaf,
        template=MEANT,
        key=KEY.public_key(),
        above=by.chain,
        roots=roots or by.roots,
        now=NOW,
    )


def test_the_honest_one_passes() -> None:
    check(leaf_by_hand(ROOT, KEY))


WRONG = {
    "no names": leaf_by_hand(ROOT, KEY, names=()),
    "two URIs": leaf_by_hand(ROOT, KEY, names=(URI, URI)),
    "another URI": leaf_by_hand(
        ROOT, KEY, names=(x509.UniformResourceIdentifier("spiffe://cluster.local/ns/shop/sa/eve"),)
    ),
    "not a SPIFFE id": leaf_by_hand(
        ROOT, KEY, names=(x509.UniformResourceIdentifier("https://cluster.local/"),)
    ),
    "a DNS name that was not planned": leaf_by_hand(ROOT, KEY, names=(URI, x509.DNSName("x.y"))),
    "an email name": leaf_by_hand(ROOT, KEY, names=(URI, x509.RFC822Name("a@b.c"))),
    "CA": leaf_by_hand(ROOT, KEY, ca=True),
    "may sign certificates": leaf_by_hand(
        ROOT, KEY, usage=key_usage(digital_signature=True, key_cert_sign=True)
    ),
    "may not sign handshakes": leaf_by_hand(ROOT, KEY, usage=key_usage(key_agreement=True)),
    "server only": leaf_by_hand(ROOT, KEY, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)),
    "client only": leaf_by_hand(ROOT, KEY, purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,)),
    "any purpose": leaf_by_hand(ROOT, KEY, purposes=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)),
    "also for code": leaf_by_hand(
        ROOT,
        KEY,
        purposes=(
            ExtendedKeyUsageOID.SERVER_AUTH,
            ExtendedKeyUsageOID.CLIENT_AUTH,
            ExtendedKeyUsageOID.CODE_SIGNING,
        ),
    ),
    "no purpose": leaf_by_hand(ROOT, KEY, purposes=()),
    "lives longer": leaf_by_hand(ROOT, KEY, period=(NOW - 120, NOW + DAY + 1)),
    "begins earlier": leaf_by_hand(ROOT, KEY, period=(NOW - 121, NOW + DAY)),
    "another key": leaf_by_hand(ROOT, keys.generate()),
    "another authority": leaf_by_hand(root(), KEY),
}


@pytest.mark.parametrize("leaf", WRONG.values(), ids=WRONG.keys())
def test_a_deviation_is_refused(leaf: bytes) -> None:
    with pytest.raises(CertificateError):
        check(leaf)


GOOD = intermediate(ROOT)
BAD_ABOVE = {
    "not a CA": intermediate(ROOT, ca=False),
    "may not sign certificates": intermediate(ROOT, usage=key_usage(digital_signature=True)),
    "expired": intermediate(ROOT, period=(NOW - DAY, NOW - 1)),
    "not valid yet": intermediate(ROOT, period=(NOW + 1, NOW + DAY)),
    "below one of path length 0": intermediate(
        intermediate(ROOT, path_length=0), organization="second"
    ),
}


@pytest.mark.parametrize("by", BAD_ABOVE.values(), ids=BAD_ABOVE.keys())
def test_a_chain_that_does_not_hold_is_refused(by: Authority) -> None:
    with pytest.raises(CertificateError):
        check(leaf_by_hand(by, KEY), by)


def test_a_chain_to_another_root_is_refused() -> None:
    check(leaf_by_hand(GOOD, KEY), GOOD)
    with pytest.raises(CertificateError, match="no root"):
        check(leaf_by_hand(GOOD, KEY), GOOD, root("other").roots)


def test_a_broken_link_is_refused() -> None:
    stranger = intermediate(root(), organization="intermediate")
    mixed = Authority(
        key=GOOD.key,
        certificate=GOOD.certificate,
        intermediates=stranger.chain,
        roots=ROOT.roots,
    )
    with pytest.raises(CertificateError, match="not issued by the next"):
        verify.chain(mixed.chain, stranger.roots, now=NOW)


def test_an_expired_root_is_refused() -> None:
    old = root(now=NOW - 4000 * DAY)
    with pytest.raises(CertificateError, match="expired"):
        verify.chain(old.chain, old.roots, now=NOW)


def test_identity_of_reads_what_was_issued() -> None:
    assert verify.identity_of(bundle.parse(leaf_by_hand(ROOT, KEY))[0]) == BOB


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_no_changed_byte_of_what_is_signed_is_accepted_and_none_raises_anything_else() -> None:
    leaf = bundle.parse(leaf_by_hand(ROOT, KEY))[0]
    der = leaf.public_bytes(serialization.Encoding.DER)
    accepted = []
    for position in range(len(der)):
        for bit in (0, 3, 7):
            changed = bytearray(der)
            changed[position] ^= 1 << bit
            body = base64.encodebytes(bytes(changed))
            pem = b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"
            try:
                check(pem)
            except (CertificateError, UnusableKeyError):
                continue
            if bundle.parse(pem)[0].tbs_certificate_bytes != leaf.tbs_certificate_bytes:
                accepted.append((position, bit))
    assert accepted == []
