import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.pki.errors import SealError
from libs.pki.seal import OVERHEAD_BYTES, Sealer

SECRET, OLDER, FOREIGN = b"a" * 32, b"b" * 32, b"c" * 32
PLACE = b"seine/v1/clusters/scope-1"
SEALER = Sealer([SECRET, OLDER])


@given(st.binary(max_size=300), st.binary(max_size=100))
def test_what_was_sealed_for_a_place_opens_there(content: bytes, place: bytes) -> None:
    sealed = SEALER.seal(content, place)
    assert SEALER.open(sealed, place) == content
    assert len(sealed) == len(content) + OVERHEAD_BYTES
    if len(content) > 3:
        assert content not in sealed


def test_no_flipped_bit_opens() -> None:
    sealed = SEALER.seal(b"clusters", PLACE)
    opened = 0
    for position in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[position // 8] ^= 1 << position % 8
        try:
            SEALER.open(bytes(changed), PLACE)
            opened += 1
        except SealError:
            pass
    assert opened == 0
    assert SEALER.open(sealed, PLACE) == b"clusters"


@given(st.binary(max_size=80))
def test_foreign_bytes_do_not_open(raw: bytes) -> None:
    with pytest.raises(SealError):
        SEALER.open(raw, PLACE)


def test_moved_truncated_lengthened_and_foreign_values_do_not_open() -> None:
    sealed = SEALER.seal(b"clusters", PLACE)
    for value, place in [
        (sealed, PLACE + b"2"),
        (sealed, b""),
        (sealed[:-1], PLACE),
        (sealed + b"\0", PLACE),
        (sealed[: OVERHEAD_BYTES - 1], PLACE),
        (b"", PLACE),
        (Sealer([FOREIGN]).seal(b"clusters", PLACE), PLACE),
    ]:
        with pytest.raises(SealError):
            SEALER.open(value, place)


def test_a_secret_is_replaced_without_losing_values() -> None:
    before, after = Sealer([OLDER]), Sealer([SECRET])
    assert SEALER.open(before.seal(b"x", PLACE), PLACE) == b"x"
    assert after.open(SEALER.seal(b"x", PLACE), PLACE) == b"x"
    with pytest.raises(SealError):
        after.open(before.seal(b"x", PLACE), PLACE)


def test_equal_contents_do_not_look_equal() -> None:
    assert SEALER.seal(b"x", PLACE) != SEALER.seal(b"x", PLACE)


@pytest.mark.parametrize("secrets", [[], [b"short"], [SECRET, b""]])
def test_no_or_weak_secrets_are_refused(secrets: list[bytes]) -> None:
    with pytest.raises(SealError):
        Sealer(secrets)


def test_a_sealer_shows_no_secret() -> None:
    assert "aaaa" not in repr(SEALER)
