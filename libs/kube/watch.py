"""Watch: what happens to a collection after a version, as events, until the server ends it.

Events that arrive together come together. A stream that breaks off in the middle of an event loses
nothing: the event comes again to whoever resumes. When to list, resume and give up is not decided
here but in `libs.kube.follow`.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from enum import StrEnum

import msgspec
from msgspec import Raw, Struct

from libs.kube.client import Client
from libs.kube.collection import Collection
from libs.kube.errors import MalformedError, error_of
from libs.kube.list import Item, item_of

MAX_EVENT_BYTES = 32 * 1024 * 1024
"""Many times what etcd can hold in one object."""


class EventType(StrEnum):
    """What happened."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"  # nothing, up to this version


class Event(Struct, frozen=True, gc=False):
    """One event. Of a bookmark only the item's version means something."""

    type: EventType
    item: Item


class _Line(Struct, gc=False):
    type: str
    object: Raw


class _Status(Struct, gc=False):
    code: int = 0
    reason: str | None = None
    message: str | None = None


_LINE = msgspec.json.Decoder(_Line)
_STATUS = msgspec.json.Decoder(_Status)


class Session(Struct, frozen=True):
    """How long a watch may last, and how long the server may be silent, in seconds."""

    seconds: int
    silence: float


async def watch(
    client: Client, collection: Collection, path: str, *, version: str, session: Session
) -> AsyncGenerator[list[Event], None]:
    """Yield what happens after `version`, in the order in which it does, in handfuls.

    Raises:
        GoneError: the version is too old.
        UnreachableError: the stream broke, or was silent for too long.
        KubeError: as `Client.request`.

    """
    params = {
        **collection.params,
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": version,
        "timeoutSeconds": session.seconds,
    }
    chunks = client.stream(path, params, silence=session.silence, accept=collection.accept_watch)
    lines = _Lines()
    async with aclosing(chunks):
        async for chunk in chunks:
            events = [_event(line) for line in lines.add(chunk)]
            if events:
                yield events


class _Lines:
    """Makes lines of chunks."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def add(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the lines that are whole now."""
        self._rest += chunk
        if len(self._rest) > MAX_EVENT_BYTES and b"\n" not in chunk:
            raise MalformedError(f"an event of more than {MAX_EVENT_BYTES} bytes")
        if b"\n" not in chunk:
            return
        whole, _, rest = bytes(self._rest).rpartition(b"\n")
        self._rest = bytearray(rest)
        yield from filter(None, whole.split(b"\n"))


def _event(line: bytes) -> Event:
    try:
        found = _LINE.decode(line)
        if found.type == "ERROR":
            status = _STATUS.decode(found.object)
            said = {"reason": status.reason, "message": status.message}
            raise error_of(status.code, said)
        kind = EventType(found.type)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise MalformedError(f"an event that cannot be read: {error}") from error
    return Event(kind, item_of(found.object))
