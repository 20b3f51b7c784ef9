from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.model import durations


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("1s", 1000),
        ("1.5s", 1500),
        (".5s", 500),
        ("1.s", 1000),
        ("100ms", 100),
        ("1h30m", 5_400_000),
        ("1m1s1ms", 61_001),
        ("-1s", -1000),
        ("+1s", 1000),
        ("250us", Fraction(1, 4)),
        ("250µs", Fraction(1, 4)),
        ("250μs", Fraction(1, 4)),
        ("1ns", Fraction(1, 1_000_000)),
        ("0.1ns", 0),
        ("2557919h", 2557919 * 3_600_000),
    ],
)
def test_durations_are_read_as_go_reads_them(text: str, milliseconds: Fraction | int) -> None:
    assert durations.parse(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "s",
        ".s",
        "1d",
        "1s ",
        " 1s",
        "1 s",
        "--1s",
        "1s-1s",
        "1e3s",
        "1,5s",
        "1sx",
        "٣s",
        "9" * 60 + "s",
        "2557920h",
        "1s" * 40,
    ],
)
def test_all_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        durations.parse(text)


@given(st.text(max_size=80))
def test_no_text_raises_anything_else(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(durations.parse(text), Fraction)
