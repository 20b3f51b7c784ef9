import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from libs.xds.generate.filters import matchers
from tests.support import rbac

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@given(TEXTS, TEXTS)
def test_an_escaped_text_matches_itself_and_nothing_else(written: str, other: str) -> None:
    expression = matchers.escape(written)
    assert re2.fullmatch(expression, written)
    assert bool(re2.fullmatch(expression, other)) is (other == written)


def test_without_escaping_near_misses_would_match() -> None:
    assert re2.fullmatch("a.b", "axb"), "the defence is needed"
    assert not re2.fullmatch(matchers.escape("a.b"), "axb")


@pytest.mark.parametrize(
    ("written", "fits", "near"),
    [
        ("abc", "abc", "abcd"),
        ("ab*", "abc", "xab"),
        ("*bc", "abc", "bcx"),
        ("*", "anything", ""),
        ("a*c", "a*c", "abc"),
        ("a.c", "a.c", "abc"),
    ],
)
def test_forms_of_texts(written: str, fits: str, near: str) -> None:
    assert rbac.string(matchers.text(written), fits)
    assert not rbac.string(matchers.text(written), near)


def test_a_star_as_header_asks_only_whether_it_is_there() -> None:
    assert rbac.header(matchers.header("x", "*"), {"x": ""})
    assert not rbac.header(matchers.header("x", "*"), {})


@pytest.mark.parametrize(
    ("written", "prefix", "length"),
    [
        ("10.1.2.3", "10.1.2.3", 32),
        ("10.1.2.3/16", "10.1.2.3", 16),
        ("::1", "::1", 128),
        ("2001:db8::/32", "2001:db8::", 32),
    ],
)
def test_blocks_of_addresses(written: str, prefix: str, length: int) -> None:
    block = matchers.cidr(written)
    assert block is not None
    assert (block.address_prefix, block.prefix_len.value) == (prefix, length)


@pytest.mark.parametrize(
    "written", ["", "x", "10.1.2", "10.1.2.3/33", "fe80::1%eth0", "1.2.3.4:80"]
)
def test_what_is_no_address_is_none(written: str) -> None:
    assert matchers.cidr(written) is None
