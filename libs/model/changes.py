"""Changes: their numbers, and the names that people know them by.

A change's number is made of the wall time at which it was made and of who made it. So no two
changes share one, whichever process of discovery made them and however often that was restarted,
and a later change has the greater number. Should the machine's clock be set back, a process counts
on from its latest number. Others look for this as ULID or hybrid logical clock.
"""

from typing import NewType

ChangeNumber = NewType("ChangeNumber", int)
"""Names a change: fits 50 bits, 0 is none."""

MAKERS = 1024
_ORIGIN = 1_735_689_600.0  # 2025-01-01, in seconds since the epoch: good until 2059
_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"  # without those that look like others
_LENGTH, _HALF = 10, 5


def next_number(last: int, *, now: float, maker: int) -> ChangeNumber:
    """Return a number greater than `last`, which the same `maker` gave before, or 0.

    `now` is in wall seconds; `maker` is below MAKERS and tells processes apart.
    """
    tick = max(int((now - _ORIGIN) * 1000), last // MAKERS + 1)
    return ChangeNumber(tick * MAKERS + maker)


def name(number: int) -> str:
    """Return a change's name, as in `0t8qh-2r007`: names sort like numbers; "" for none."""
    if not number:
        return ""
    digits = ""
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_LETTERS))
        digits = _LETTERS[digit] + digits
    return f"{digits[:_HALF]}-{digits[_HALF:]}"


def number(written: str) -> ChangeNumber:
    """Return the change of a name; 0 for none.

    Raises:
        ValueError: it is no name of a change.

    """
    found = 0
    for letter in written.replace("-", ""):
        found = found * len(_LETTERS) + _LETTERS.index(letter)
    return ChangeNumber(found)
