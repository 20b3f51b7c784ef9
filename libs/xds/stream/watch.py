"""Watch: what a session knows of one type on its stream."""

from collections.abc import Iterable, Mapping

from libs.xds.stream.nonce import Ledger
from libs.xds.stream.subscription import Subscription
from libs.xds.types import PUSH_ORDER, ResourceSet, resource_set

_ORDER = {type_url: rank for rank, type_url in enumerate(PUSH_ORDER)}


class Watch:
    """One type: what is wanted, what was sent, and what the client said to it.

    After the first answer the client has been sent exactly the wanted part of `applied`.
    """

    __slots__ = (
        "answered",
        "applied",
        "dropped",
        "ledger",
        "left",
        "reported",
        "type_url",
        "wanted",
    )

    def __init__(self, type_url: str, wanted: Subscription) -> None:
        self.type_url = type_url
        self.wanted = wanted
        self.answered = False
        self.applied: ResourceSet = resource_set(type_url, ())
        self.left = self.applied  # what it had been sent when it left the wildcard
        self.dropped: frozenset[str] = frozenset()  # left out of requests that were ignored
        self.reported: Mapping[str, str] = {}  # versions by name, until the first answer
        self.ledger = Ledger()


def in_push_order(watches: Iterable[Watch]) -> list[Watch]:
    """Return `watches` in the order in which a push sends their types."""
    return sorted(watches, key=lambda watch: _ORDER.get(watch.type_url, len(_ORDER)))
