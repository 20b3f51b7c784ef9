"""Nonces: which response of one type a client speaks of.

A nonce is the push number; further responses of the same push on the same stream get `.1`, `.2`
and so on. Responses wait for their answer here. At most MAX_WAITING do: a client that answers
nothing makes the oldest forgotten, and its late answer counts as stale.
"""

from msgspec import Struct

from libs.model.ids import Ref
from libs.xds.stream.events import MAX_TEXT, Acked, Nacked
from libs.xds.stream.responses import Response
from libs.xds.types import ResourceSet

MAX_WAITING = 64


class _Waiting(Struct, frozen=True, gc=False):
    push: int
    response: Response
    resources: ResourceSet


class Ledger:
    """The responses of one type on one stream, and what the client said to them."""

    __slots__ = (
        "_count",
        "_push",
        "_waiting",
        "acked",
        "acked_version",
        "error",
        "guilty",
        "guilty_sources",
        "sent",
        "version",
    )

    def __init__(self) -> None:
        self._push = -1
        self._count = 0
        self._waiting: dict[str, _Waiting] = {}
        self.sent = ""  # nonce of the latest response
        self.version = ""  # of the set that it led to
        self.acked = ""  # nonce of the latest response that was accepted
        self.acked_version = ""
        self.error = ""  # why the latest answer was a refusal; empty if it was not
        self.guilty: tuple[str, ...] = ()  # the resources that a refusal named
        self.guilty_sources: tuple[Ref, ...] = ()

    @property
    def waiting(self) -> int:
        """Responses without an answer."""
        return len(self._waiting)

    def waits(self, nonce: str) -> bool:
        """Tell whether the response of `nonce` has no answer yet."""
        return nonce in self._waiting

    def next(self, push: int) -> str:
        """Return the nonce of the next response."""
        self._count = self._count + 1 if push == self._push else 0
        self._push = push
        return f"{push}.{self._count}" if self._count else str(push)

    def record(self, response: Response, resources: ResourceSet) -> None:
        """Record that `response`, made from `resources`, is on its way."""
        self.sent = response.nonce
        self.version = resources.version
        self._waiting[response.nonce] = _Waiting(self._push, response, resources)
        if len(self._waiting) > MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def accept(self, nonce: str) -> Acked | None:
        """Record an ACK; None if nothing of that nonce waits."""
        waiting = self._waiting.pop(nonce, None)
        if waiting is None:
            return None
        self.acked = nonce
        self.acked_version = waiting.resources.version
        self.error = ""
        return Acked(waiting.resources.type_url, nonce, waiting.push)

    def refuse(self, nonce: str, text: str) -> Nacked | None:
        """Record a NACK; None if nothing of that nonce waits."""
        waiting = self._waiting.pop(nonce, None)
        if waiting is None:
            return None
        self.error = text[:MAX_TEXT]
        guilty = _guilty(self.error, waiting.response.names)
        found = (waiting.resources.resources.get(name) for name in guilty)
        sources = {source for item in found if item is not None for source in item.sources}
        self.guilty, self.guilty_sources = guilty, tuple(sorted(sources))
        return Nacked(
            waiting.resources.type_url, nonce, waiting.push, self.error, guilty, self.guilty_sources
        )

    def names(self, nonce: str) -> tuple[str, ...]:
        """Return the resources of a response that waits for its answer."""
        waiting = self._waiting.get(nonce)
        return waiting.response.names if waiting else ()


def _guilty(text: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return which of `names` a client's text names; a response of one resource leaves no doubt."""
    if len(names) == 1:
        return names
    words = set(text.split())
    words |= {word.strip("'\"`()[]{}<>,;:.") for word in words}
    return tuple(name for name in names if name in words)
