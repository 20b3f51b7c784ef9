"""Lists: where a patch puts, replaces or removes an item of a list of named things."""

from collections.abc import Callable, MutableSequence, Sequence
from typing import TypeVar

from google.protobuf.message import Message

T = TypeVar("T")
M = TypeVar("M", bound=Message)

BEFORE = "INSERT_BEFORE"
AFTER = "INSERT_AFTER"
FIRST = "INSERT_FIRST"
ADD = "ADD"
REPLACE = "REPLACE"
INSERTIONS = (ADD, FIRST, BEFORE, AFTER)


def insert(
    items: Sequence[T],
    operation: str,
    new: T,
    *,
    beside: Callable[[T], bool] | None,
    end: int | None = None,
) -> list[T] | None:
    """Return `items` with `new` among them, or None if what it should stand beside is not there.

    `beside` tells what it should stand beside, None that nothing was named: then before is at the
    front, and after is at the end. `end` is the place of what must stay last, if anything must.
    """
    place = _place(items, operation, beside, len(items) if end is None else end)
    return None if place is None else [*items[:place], new, *items[place:]]


def _place(  # noqa: PLR0917 - what decides one place
    items: Sequence[T], operation: str, beside: Callable[[T], bool] | None, end: int
) -> int | None:
    if operation == FIRST:
        return 0
    if operation == ADD:
        return end
    if beside is None:
        return 0 if operation == BEFORE else end
    found = next((index for index, item in enumerate(items) if beside(item)), None)
    if found is None:
        return None
    return found if operation == BEFORE else found + 1


def replace(items: Sequence[T], new: T, beside: Callable[[T], bool]) -> list[T] | None:
    """Return `items` with `new` for each that `beside` tells, or None if there is none."""
    if not any(map(beside, items)):
        return None
    return [new if beside(item) else item for item in items]


def assign(field: MutableSequence[M], items: Sequence[M]) -> None:
    """Make `items`, some of which stand in `field`, all that stands in it."""
    if len(items) == len(field) and all(map(_is, items, field)):
        return
    copies = []
    for item in items:
        copied = type(item)()
        copied.CopyFrom(item)
        copies.append(copied)
    del field[:]
    field.extend(copies)


def _is(left: object, right: object) -> bool:
    return left is right
