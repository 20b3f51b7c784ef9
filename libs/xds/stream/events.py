"""Events: what happened on a stream, for receipts, metrics and debug pages."""

from msgspec import Struct

from libs.model.ids import Ref

MAX_TEXT = 4096


class Sent(Struct, frozen=True, gc=False):
    """A response was handed over for writing."""

    type_url: str
    nonce: str
    push: int
    resources: int
    removed: int
    size: int  # bytes
    full: bool  # the answer to the first request of the type


class Acked(Struct, frozen=True, gc=False):
    """The client took over everything of a response."""

    type_url: str
    nonce: str
    push: int


class Nacked(Struct, frozen=True, gc=False):
    """The client refused a response; it goes on with what it had."""

    type_url: str
    nonce: str
    push: int
    text: str  # the client's own words, at most MAX_TEXT characters
    resources: tuple[str, ...]  # those of the response that the text names, or its only one
    sources: tuple[Ref, ...]  # the configuration that these came from


class Stale(Struct, frozen=True, gc=False):
    """The client answered something that is no longer waited for. Nothing follows from it."""

    type_url: str
    nonce: str


Event = Sent | Acked | Nacked | Stale
