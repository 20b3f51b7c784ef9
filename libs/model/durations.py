"""Durations as Go reads them, which is how Istio's fields are defined: `1h30m`, `1.5s`."""

import re
from fractions import Fraction
from functools import lru_cache

MAX_TEXT = 64
_REMEMBERED = 2048
_FINEST = 10**MAX_TEXT  # no number of so few characters has more decimals
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # the micro sign
    "μs": 1_000,  # the Greek letter
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_MAX = 292 * 365 * 24 * _NANOSECONDS["h"]  # what Envoy takes ends a little later, and so does Go


def parse(text: str) -> Fraction:
    """Return the milliseconds that `text` stands for, exactly.

    Raises:
        ValueError: it is not a duration, or longer than 292 years.

    """
    if len(text) > MAX_TEXT:
        raise ValueError(_NONE)
    return _parse(text)


_NONE = "must be a duration such as 1.5s, 100ms or 1h"


@lru_cache(maxsize=_REMEMBERED)
def _parse(text: str) -> Fraction:
    negative = text.startswith("-")
    rest = text[1:] if text[:1] in {"-", "+"} else text
    if rest == "0":
        return Fraction(0)
    parts = _PART.findall(rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise ValueError(_NONE)
    nanoseconds = sum(_scaled(number) * _NANOSECONDS[unit] for number, unit in parts) // _FINEST
    if nanoseconds >= _MAX:
        raise ValueError("must be shorter than 292 years")
    return Fraction(-nanoseconds if negative else nanoseconds, 1_000_000)


def _scaled(number: str) -> int:
    """Return a number times `_FINEST`."""
    whole, _, decimals = number.partition(".")
    return int(whole + decimals.ljust(MAX_TEXT, "0"))
