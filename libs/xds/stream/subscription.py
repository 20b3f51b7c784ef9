"""Subscription: which resources of one type a client wants.

It wants all of them (wildcard: `*`, or naming nothing in the first request of a type that comes
whole), or some by name, or both. Whether a name exists is not decided here.
"""

from collections.abc import Iterable
from weakref import WeakValueDictionary

from libs.xds.types import ENDPOINT, EXTENSION, ROUTE, SECRET

ANY = "*"

NAMED_TYPES = frozenset({ENDPOINT, ROUTE, SECRET, EXTENSION})
"""Types of which naming nothing means nothing; of every other type it means everything."""


class Subscription:
    """What a client wants of one type. Immutable; compared by value."""

    __slots__ = ("__weakref__", "_hash", "names", "wildcard")

    def __init__(self, wildcard: bool, names: frozenset[str]) -> None:
        self.wildcard = wildcard
        self.names = names
        self._hash = hash((wildcard, names))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Subscription):
            return NotImplemented
        return self.wildcard == other.wildcard and self.names == other.names

    def __hash__(self) -> int:
        return self._hash

    def covers(self, name: str) -> bool:
        """Tell whether the client wants the resource `name`."""
        return self.wildcard or name in self.names

    def changed(self, add: Iterable[str], remove: Iterable[str]) -> "Subscription":
        """Return what is wanted after adding and removing names; a name in both stays."""
        added = frozenset(add)
        removed = frozenset(remove) - added
        wildcard = (self.wildcard and ANY not in removed) or ANY in added
        names = (self.names | added) - removed - {ANY}
        return Subscription(wildcard, names)


NOTHING = Subscription(wildcard=False, names=frozenset())


def first(type_url: str, names: Iterable[str]) -> Subscription:
    """Return what the first request of a type asks for with these names."""
    wanted = NOTHING.changed(names, ())
    if wanted is NOTHING or wanted == NOTHING:
        return Subscription(wildcard=type_url not in NAMED_TYPES, names=frozenset())
    return wanted


class Interner:
    """Gives equal subscriptions of many streams one object, for as long as one of them has it."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[tuple[bool, frozenset[str]], Subscription] = (
            WeakValueDictionary()
        )

    def __call__(self, subscription: Subscription) -> Subscription:
        """Return the one object that equals `subscription`."""
        key = (subscription.wildcard, subscription.names)
        return self._known.setdefault(key, subscription)
