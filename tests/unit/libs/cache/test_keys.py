import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.cache.keys import key

parts = st.lists(st.text(alphabet="/:ab1\n*", max_size=6), max_size=4)


@given(parts, parts)
def test_different_parts_give_different_keys(left: list[str], right: list[str]) -> None:
    assert (key("class", *left) == key("class", *right)) == (left == right)


def test_kinds_are_apart() -> None:
    assert key("class", "a") != key("mesh", "a")


def test_a_key_has_a_bound() -> None:
    with pytest.raises(ValueError, match="at most"):
        key("class", "x" * 2000)
