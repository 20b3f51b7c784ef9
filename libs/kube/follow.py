"""Follow: a collection as it is, for as long as it is wanted: list, watch, resume, list again.

A reflector, by the name that Kubernetes' own clients have for it. It knows the name and version of
each object and gives the objects' bytes to a sink, in order, and waits for it: so a slow sink slows
the stream down and nothing piles up. What it promises is that the sink ends up with what the server
has, whatever happens on the way:

- A stream that ends is resumed at the last version, bookmarks included.
- A version that is too old (410, as an answer or in the stream) means a new list.
- Streams are short: the server says a last word and ends them after 36 to 45 s, and the connection
  carries the next one. So one that is silent for longer is half open, whatever keeps it so.
- Objects are counted now and then. If there are more or fewer than known, some event was missed.
- A version that goes backwards means that etcd was restored: what is known may never have been.
  Watching on from a version that is still to come would be to wait for ever, in silence.
- After an outage everything is listed and read again, for the same reason; and in any case now and
  then, because the server is not the only one who can be wrong.
- A kind that is not there (no CRD) has no objects, and is asked for again when a CRD appears. If it
  had any, it must stay away for a while before they are given up.
- Who may not list is told so, and asks again: somebody may grant it.

Retries are spread by chance and grow to `Patience.backoff.limit`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from enum import StrEnum

from msgspec import Raw, Struct

from libs.kube.client import Client
from libs.kube.collection import Collection
from libs.kube.errors import (
    ApiError,
    BusyError,
    ForbiddenError,
    GoneError,
    KubeError,
    NotFoundError,
    ServerError,
    UnauthorizedError,
)
from libs.kube.list import PAGE, Item, Name, Page, count, pages, whole
from libs.kube.watch import EventType, Session, watch
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock, SystemClock
from libs.runtime.tasks import Group, pause

logger = logging.getLogger(__name__)


class Change(Struct, frozen=True, gc=False):
    """An object as it is now; None if it has gone."""

    name: Name
    raw: Raw | None


Sink = Callable[[Sequence[Change]], Awaitable[None]]
"""Takes changes, in order."""


class Happening(StrEnum):
    """What is worth counting."""

    LISTED = "listed"
    WATCHED = "watched"
    EXPIRED = "expired"  # 410: list again
    MISCOUNTED = "miscounted"  # an event was missed: list again
    BACKWARDS = "backwards"  # restored: list again
    OUTAGE = "outage"  # the server is back: list again
    REFRESH = "refresh"  # it was time to list again
    BROKEN = "broken"  # no answer, or one that is no use
    REFUSED = "refused"  # no permission
    ABSENT = "absent"  # no such kind
    MOVED = "moved"  # `state` or `reason` has changed


Observe = Callable[[Happening], None]


class State(StrEnum):
    """How things stand."""

    STARTING = "starting"
    FOLLOWING = "following"
    ABSENT = "absent"
    REFUSED = "refused"
    AWAY = "away"


class Patience(Struct, frozen=True, kw_only=True):
    """All times, in seconds.

    Servers send bookmarks each minute and two seconds before a watch ends. The former would be too
    rare a sign of life, so `silence` counts on the latter: it is longer than any session.
    """

    session: int = 36  # up to a quarter more: when a watch is renewed
    silence: float = 50.0
    count: float = 120.0
    refresh: float = 1800.0
    absent: float = 30.0
    given_up: float = 5.0
    page: int = PAGE
    backoff: Backoff = Backoff(first=0.25, limit=8.0)


_DEFAULTS = Patience()


class _RelistError(Exception):
    """What is known is not what there is."""

    def __init__(self, why: Happening) -> None:
        super().__init__(why)
        self.why = why


def _ignore(_: Happening) -> None:
    """Count nothing."""


class Follower:
    """Follows one collection; `run` does the work."""

    def __init__(
        self,
        client: Client,
        collection: Collection,
        sink: Sink,
        *,
        observe: Observe = _ignore,
        clock: Clock | None = None,
        patience: Patience = _DEFAULTS,
    ) -> None:
        self.collection = collection
        self.state = State.STARTING
        self.reason = ""
        """Why things stand as they do, in words; empty while all is well."""
        self.synced = asyncio.Event()
        """Set once the sink has had all there was."""
        self._client = client
        self._sink = sink
        self._observe = observe
        self._clock = clock or SystemClock()
        self._patience = patience
        self._path = collection.paths[0]
        self._known: dict[Name, str] = {}
        self._version = ""
        """Where to resume; empty: list."""
        self._doubted = False
        """Whether equal versions may stand for different objects."""
        self._broken_off = False
        """Whether the last stream ended before its time: who answers next may be another."""
        self._failures = 0
        self._missing_since: float | None = None
        self._retry = asyncio.Event()

    def retry(self) -> None:
        """Stop waiting: something has changed that may make a difference."""
        self._retry.set()

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._session()
                self._failures = 0
            except _RelistError as error:
                self._start_over(error.why)
            except KubeError as error:
                await self._failed(error)

    def _start_over(self, why: Happening) -> None:
        self._observe(why)
        self._version = ""
        self._doubted |= why in {Happening.BACKWARDS, Happening.OUTAGE}
        logger.info("listing again", extra={"collection": self.collection.name, "reason": why})

    # Listing.

    async def _list(self) -> None:
        """Give the sink all there is, and take from it what has gone."""
        path = await self._served()
        try:
            found, version = await self._paged(path)
        except GoneError:
            # Pages took longer than their moment lasts: all at once, then.
            self._observe(Happening.EXPIRED)
            page = await whole(self._client, self.collection, path)
            found, version = await self._take_page(page, set()), page.version
        gone = self._known.keys() - found
        await self._forget(gone)
        self._path, self._version = path, version
        self._doubted, self._missing_since = False, None
        self._observe(Happening.LISTED)
        self._set(State.FOLLOWING)
        self.synced.set()

    async def _paged(self, path: str) -> tuple[set[Name], str]:
        found: set[Name] = set()
        version = ""
        chosen = pages(self._client, self.collection, path, limit=self._patience.page)
        async with aclosing(chosen):
            async for page in chosen:
                await self._take_page(page, found)
                version = page.version
        return found, version

    async def _take_page(self, page: Page, found: set[Name]) -> set[Name]:
        found.update(item.name for item in page.items)
        await self._take([item for item in page.items if self._is_news(item)])
        return found

    def _is_news(self, item: Item) -> bool:
        return self._doubted or self._known.get(item.name) != item.version

    async def _served(self) -> str:
        """Return the first path that the server knows; one request, if it is that of before."""
        paths = (self._path, *(path for path in self.collection.paths if path != self._path))
        if len(paths) == 1:
            return self._path
        for path in paths[:-1]:
            try:
                await count(self._client, self.collection, path)
            except NotFoundError:
                continue
            return path
        return paths[-1]

    async def _take(self, items: Sequence[Item]) -> None:
        if items:
            await self._sink([Change(item.name, item.raw) for item in items])
        self._known.update((item.name, item.version) for item in items)

    async def _forget(self, names: set[Name]) -> None:
        if names:
            await self._sink([Change(name, None) for name in sorted(names)])
        for name in names:
            self._known.pop(name, None)

    # Watching.

    async def _session(self) -> None:
        """Watch, and check now and then that nothing is missed, until the server ends it."""
        if self._broken_off:
            await self._check_version()
        self._observe(Happening.WATCHED)
        self._broken_off = True
        try:
            async with Group() as group:
                checks = [group.create_task(self._count()), group.create_task(self._refresh())]
                await self._watch()
                for check in checks:
                    check.cancel()
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors

    async def _watch(self) -> None:
        seconds = int(self._patience.session * (1 + chance() / 4))
        started = self._clock.monotonic()
        session = Session(seconds, self._patience.silence)
        stream = watch(
            self._client, self.collection, self._path, version=self._version, session=session
        )
        async with aclosing(stream):
            async for events in stream:
                self._set(State.FOLLOWING)
                self._failures = 0
                for event in events:
                    if _is_older(event.item.version, self._version):
                        raise _RelistError(Happening.BACKWARDS)
                    if event.type is EventType.DELETED:
                        await self._forget({event.item.name})
                    elif event.type is not EventType.BOOKMARK and self._is_news(event.item):
                        await self._take([event.item])
                    self._version = event.item.version
        self._broken_off = self._clock.monotonic() - started < seconds - 1

    async def _check_version(self) -> None:
        """See whether the server is behind us, before it is asked what comes after."""
        there = await count(self._client, self.collection, self._path)
        if _is_older(there.version, self._version):
            raise _RelistError(Happening.BACKWARDS)

    async def _count(self) -> None:
        """Compare how many objects there are with how many are known."""
        while True:
            await self._clock.sleep(self._patience.count * (0.5 + chance()))
            for seconds in (1.0, 2.0, 4.0):
                if await self._is_counted():
                    break
                await self._clock.sleep(seconds)  # events may be on their way
            else:
                raise _RelistError(Happening.MISCOUNTED)

    async def _is_counted(self) -> bool:
        try:
            there = await count(self._client, self.collection, self._path)
        except KubeError:
            return True  # whatever that is, the watch notices it too
        if _is_older(there.version, self._version):
            raise _RelistError(Happening.BACKWARDS)
        return there.objects == len(self._known)

    async def _refresh(self) -> None:
        await self._clock.sleep(self._patience.refresh * (0.75 + 0.5 * chance()))
        raise _RelistError(Happening.REFRESH)

    # Failing.

    async def _failed(self, error: KubeError) -> None:
        """Note what went wrong, and wait as long as that is worth."""
        self._failures += 1
        if isinstance(error, GoneError) or _is_ahead(error):
            self._start_over(
                Happening.EXPIRED if isinstance(error, GoneError) else Happening.BACKWARDS
            )
            if self._failures == 1:
                return
        elif isinstance(error, NotFoundError):
            await self._absent(error)
            return
        elif isinstance(error, ForbiddenError | UnauthorizedError):
            self._observe(Happening.REFUSED)
            self._set(State.REFUSED, error)
        else:
            self._broken(error)
        await self._pause(self._delay(error))

    def _broken(self, error: KubeError) -> None:
        """The first failure may be the end of a connection; a second in a row is an outage."""
        self._observe(Happening.BROKEN)
        if self._failures > 1 and self._version and not isinstance(error, ApiError):
            self._start_over(Happening.OUTAGE)
        if self._failures > 1 or not self.synced.is_set():
            self._set(State.AWAY, error)

    async def _absent(self, error: NotFoundError) -> None:
        """No such kind. If it had objects, that has to be true for a while."""
        self._observe(Happening.ABSENT)
        self._version = ""
        now = self._clock.monotonic()
        since = self._missing_since = self._missing_since or now
        if self._known and now - since < self._patience.given_up:
            await self._pause(self._patience.given_up / 4)
            return
        await self._forget(set(self._known))
        self._set(State.ABSENT, error)
        self.synced.set()
        self._failures = 0
        await self._pause(self._patience.absent * (0.5 + chance()))

    def _delay(self, error: KubeError) -> float:
        delay = self._patience.backoff.delay(self._failures - 1, chance())
        if isinstance(error, BusyError) and error.retry_after:
            return max(delay, min(error.retry_after, self._patience.backoff.limit))
        return delay

    async def _pause(self, seconds: float) -> None:
        """Wait, or until somebody says that it is worth another try."""
        await pause(seconds, self._retry, self._clock)
        self._retry.clear()

    def _set(self, state: State, error: KubeError | None = None) -> None:
        reason = str(error) if error else ""
        if (state, reason) == (self.state, self.reason):
            return
        if error is not None and state is not State.ABSENT:
            logger.warning(
                "collection cannot be followed",
                extra={"collection": self.collection.name, "state": state, "reason": reason},
            )
        self.state, self.reason = state, reason
        self._observe(Happening.MOVED)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended a session: of several, that which says more."""
    flat: list[BaseException] = []
    for error in errors.exceptions:
        flat += [_first(error)] if isinstance(error, BaseExceptionGroup) else [error]
    return min(flat, key=lambda it: (isinstance(it, KubeError), isinstance(it, _RelistError)))


def _is_older(version: str, than: str) -> bool:
    """Compare versions where they can be: as numbers, which Kubernetes promises since 1.35."""
    return version.isdigit() and than.isdigit() and int(version) < int(than)


def _is_ahead(error: KubeError) -> bool:
    """Whether the server does not know our version yet, because it was restored to one before."""
    return isinstance(error, ServerError) and "Too large resource version" in error.message
