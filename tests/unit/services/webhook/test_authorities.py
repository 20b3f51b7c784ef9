"""What a caBundle should be, whatever somebody has made of it."""

import base64

import pytest

from libs.pki import bundle
from services.webhook.authorities import mended
from tests.support.certificates import TestAuthority


def _root() -> bytes:
    return TestAuthority().issue("any").roots


def _encoded(*roots: bytes) -> str:
    return base64.b64encode(b"".join(roots)).decode()


def _inside(text: str) -> list[bytes]:
    return [bundle.to_pem([one]) for one in bundle.parse(base64.b64decode(text))]


OURS, OTHER = _root(), _root()


@pytest.mark.parametrize(
    "broken", ["", "?", "bm9uc2Vuc2U=", _encoded(OURS)[:400], "x" * 1_000_000, "ü"]
)
@pytest.mark.parametrize("exact", [True, False])
def test_a_broken_bundle_is_replaced(broken: str, exact: bool) -> None:
    assert mended(broken, OURS, exact=exact) == _encoded(OURS)


def test_a_good_bundle_is_left_byte_for_byte() -> None:
    commented = _encoded(b"# written by hand\n" + OURS)
    assert mended(commented, OURS, exact=True) == commented


def test_a_root_that_another_replica_needs_stays_beside_ours() -> None:
    both = mended(_encoded(OTHER), OURS, exact=False)
    assert _inside(both) == [OURS, OTHER]
    assert mended(both, OURS, exact=False) == both
    assert mended(both, OTHER, exact=False) == both


def test_others_are_taken_out_when_that_is_wanted() -> None:
    assert mended(_encoded(OTHER, OURS), OURS, exact=True) == _encoded(OURS)


def test_two_replicas_with_different_roots_come_to_an_end() -> None:
    text = mended("", OURS, exact=True)
    text = mended(text, OTHER, exact=True)
    for roots in (OURS, OTHER) * 3:
        text = mended(text, roots, exact=False)
    assert set(_inside(text)) == {OURS, OTHER}
