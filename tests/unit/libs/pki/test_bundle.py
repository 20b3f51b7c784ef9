import pytest

from libs.pki import bundle, keys
from libs.pki.errors import CertificateError
from tests.support.pki import BOB, NOW, chain_for, root

ONE, TWO = root("one"), root("two")


def test_bundles_are_read_in_order_with_comments() -> None:
    pem = b"# first\n" + ONE.root_pem + b"subject=O = two\n" + TWO.root_pem
    assert bundle.parse(pem) == [*ONE.roots, *TWO.roots]


def test_a_union_has_each_certificate_once() -> None:
    assert bundle.union(ONE.roots, TWO.roots, ONE.roots) == [*ONE.roots, *TWO.roots]


def test_validity_is_that_of_the_leaf() -> None:
    chain = chain_for(BOB, keys.generate(), ONE)
    assert bundle.validity(b"".join(chain)) == (NOW - 120, NOW + 86_400)


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"no certificate",
        ONE.root_pem.replace(b"MII", b"AAA"),
        ONE.root_pem * 1000,
    ],
    ids=["empty", "none", "broken", "too large"],
)
def test_refused(pem: bytes) -> None:
    with pytest.raises(CertificateError):
        bundle.parse(pem)
