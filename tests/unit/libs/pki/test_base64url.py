import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.pki import base64url


@given(st.binary(max_size=100))
def test_round_trip(raw: bytes) -> None:
    text = base64url.encode(raw)
    assert "=" not in text
    assert base64url.decode(text) == raw


@given(st.text(max_size=30))
def test_one_spelling_a_value(text: str) -> None:
    try:
        raw = base64url.decode(text)
    except ValueError:
        return
    assert base64url.encode(raw) == text


@pytest.mark.parametrize("text", ["a", "QQ==", "Q Q", "QQ\n", "QR", "Q+/A", "ÄÄ"])
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base64url"):
        base64url.decode(text)
