"""Memos by identity: what was derived from an object is found again while the object is the same.

Rows of a mesh and scopes are frozen, so the same object always gives the same result, and looking
at its identity is cheaper than hashing it. `WeakMemo` forgets with its owner; `Memo` forgets what
two turns did not use. Neither is safe for use by several threads at once.
"""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar
from weakref import ref

T = TypeVar("T")

_CONTEXTS = 32  # of one owner; more than that are clients too different to share


def same(left: tuple[object, ...], right: tuple[object, ...]) -> bool:
    """Tell whether two inputs are the same: texts and numbers by value, all else by identity."""
    if len(left) != len(right):
        return False
    for a, b in zip(left, right, strict=True):
        if a is not b and not (isinstance(a, str | int) and a == b):
            return False
    return True


class WeakMemo(Generic[T]):
    """Results for an owner in a context: texts and numbers by value, all else by identity."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[ref[object], list[tuple[tuple[object, ...], T]]]] = {}

    def get(self, owner: object, context: tuple[object, ...], build: Callable[[], T]) -> T:
        """Return the result for `owner` in `context`, made by `build` if there is none yet."""
        key = id(owner)
        entry = self._entries.get(key)
        if entry is None:
            entries = self._entries
            entry = entries[key] = (ref(owner, lambda _: entries.pop(key, None)), [])
        for known, result in entry[1]:
            if same(known, context):
                return result
        result = build()
        entry[1].append((context, result))
        del entry[1][:-_CONTEXTS]
        return result

    def __len__(self) -> int:
        return len(self._entries)


class Memo(Generic[T]):
    """Results by their inputs; `turn` forgets those that were not asked for since the last turn."""

    def __init__(self) -> None:
        self._young: dict[tuple[object, ...], tuple[tuple[object, ...], T]] = {}
        self._old: dict[tuple[object, ...], tuple[tuple[object, ...], T]] = {}

    def get(self, inputs: tuple[object, ...], build: Callable[[], T]) -> T:
        """Return the result for `inputs`: texts and numbers by value, all else by identity."""
        key = tuple(item if isinstance(item, str | int) else (id(item),) for item in inputs)
        entry = self._young.get(key)
        if entry is None:
            entry = self._old.get(key) or (inputs, build())
            self._young[key] = entry
        return entry[1]

    def turn(self) -> None:
        """Begin a new turn."""
        self._old, self._young = self._young, {}


class Interner:
    """Tuples of the same objects are one tuple, as long as `turn` finds them used."""

    def __init__(self) -> None:
        self._young: dict[tuple[int, ...], tuple[Any, ...]] = {}
        self._old: dict[tuple[int, ...], tuple[Any, ...]] = {}

    def __call__(self, items: Iterable[T]) -> tuple[T, ...]:
        """Return the one tuple of these very objects."""
        found = tuple(items)
        key = tuple(map(id, found))
        known = self._young.get(key)
        if known is None:
            known = self._young[key] = self._old.get(key, found)
        return known

    def turn(self) -> None:
        """Begin a new turn: what the last one did not use is forgotten."""
        self._old, self._young = self._young, {}
