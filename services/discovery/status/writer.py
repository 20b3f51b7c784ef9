"""Writer: brings the conditions of resources up to date, one write for whatever has moved.

Resources that may have moved are looked at in rounds (`rounds`). A write that fails because the
object has changed is made again when the watch tells what it is now; other failures are tried again
in the next round, after a growing pause. What somebody else replaces again and again is written
ever more seldom (`disputes`). There are at most WRITES_PER_SECOND. A round makes all writes that
say something new; of those that say the same of another number of proxies, as many as REFRESHED,
and the rest in the rounds after.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

from libs.api.problem import Problem
from libs.kube.client import Client
from libs.model import revisions
from libs.model.ids import Ref
from libs.runtime.clock import Clock
from libs.runtime.tasks import Group
from services.discovery.status.conditions import PROGRAMMED, conditions, said, says_the_same
from services.discovery.status.disputes import Disputes
from services.discovery.status.progress import ProgressBook
from services.discovery.status.rounds import Rounds
from services.discovery.status.sending import Sent, send
from services.discovery.status.subjects import Conditions, Subject, Subjects

REFRESHED = 20
WRITES_PER_SECOND = 100.0
AT_ONCE = 8
"""Writes on their way at the same time."""


class StatusWriter:
    """Knows what has moved; `run` writes while this process leads."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        check: Callable[[], None],
        *,
        revision: str = revisions.DEFAULT,
    ) -> None:
        """`check` raises if this process does not lead (any more)."""
        self._client = client
        self._clock = clock
        self._check = check
        self.subjects = Subjects(clock, self.note, revision)
        self.progress = ProgressBook(self.note, lambda it: self.subjects.get(it) is not None)
        self._problems: dict[Ref, list[Problem]] = {}
        self._rounds = Rounds(clock)
        self._disputes = Disputes(clock, "conditions")
        self.unsettled = asyncio.Event()
        """Set while a resource waits for proxies of which there will be no receipts."""
        self._waiting: set[Ref] = set()
        self._next_write = 0.0  # monotonic

    def note(self, reference: Ref) -> None:
        """Look at a resource in the next round."""
        self._rounds.note((reference,))

    def waiting(self) -> Collection[Ref]:
        """Return what waits for proxies."""
        return self._waiting

    def everything(self) -> Iterable[Ref]:
        """Return all resources that have a status."""
        return self.subjects

    def note_waiting(self) -> None:
        """Look again at what waits for proxies."""
        for reference in self._waiting:
            self.note(reference)

    def publish(self, problems: Iterable[Problem]) -> None:
        """Take all problems that there are now."""
        now: dict[Ref, list[Problem]] = {}
        for problem in problems:
            if problem.ref:
                now.setdefault(problem.ref, []).append(problem)
        before, self._problems = self._problems, now
        for reference in before.keys() | now.keys():
            if before.get(reference) != now.get(reference):
                self.note(reference)

    async def run(self) -> None:
        """Write until cancelled, everything first.

        Raises:
            LeaseLostError: this process does not lead any more.

        """
        self._rounds.note(self.subjects)
        await self._rounds.run(self._round)

    async def _round(self, moved: Iterable[Ref]) -> list[Ref]:
        """Bring resources up to date; return those that have to be tried again."""
        due: list[Due] = []
        refreshed: list[Due] = []
        for reference in moved:
            subject = self.subjects.get(reference)
            if subject is None:
                self._forget(reference)
                continue
            wanted = self._wanted(subject)
            self._wait_for(reference, waits=_is_waiting(wanted))
            if says_the_same(subject.conditions, wanted):
                self._come_back(reference, self._disputes.remaining(reference))
                if wanted != subject.conditions:
                    refreshed.append((subject, wanted))
            elif seconds := self._disputes.wait(reference, said(wanted)):
                self._come_back(reference, seconds)
            else:
                due.append((subject, wanted))
        for subject, _ in refreshed[REFRESHED:]:
            self.note(subject.ref)
        return await _all([*due, *refreshed[:REFRESHED]], self._write)

    def _come_back(self, reference: Ref, seconds: float) -> None:
        if seconds:
            self._rounds.note_later(reference, seconds)

    def _forget(self, reference: Ref) -> None:
        self.progress.forget([reference])
        self._disputes.forget(reference)
        self._wait_for(reference, waits=False)

    def _wanted(self, subject: Subject) -> Conditions:
        progress = self.progress.of(subject.ref, subject.generation, subject.seen)
        problems = self._problems.get(subject.ref, ())
        return conditions(subject, problems, progress, now=self._clock.now())

    def _wait_for(self, reference: Ref, *, waits: bool) -> None:
        (self._waiting.add if waits else self._waiting.discard)(reference)
        (self.unsettled.set if self._waiting else self.unsettled.clear)()

    async def _pace(self) -> None:
        now = self._clock.monotonic()
        at = max(self._next_write, now)
        self._next_write = at + 1 / WRITES_PER_SECOND
        if at > now:
            await self._clock.sleep(at - now)

    async def _write(self, subject: Subject, wanted: Conditions) -> bool:
        """Write the conditions of one resource; False: try again."""
        await self._pace()
        self._check()
        body = {
            "metadata": {"resourceVersion": subject.version},
            "status": {"conditions": wanted, "observedGeneration": subject.generation},
        }
        params = {"fieldManager": self.subjects.manager}
        sent = await send(self._client, subject.ref, subject.path, body=body, params=params)
        if sent is Sent.WRITTEN and not says_the_same(subject.conditions, wanted):
            self._disputes.note(subject.ref, said(wanted), subject.others)
        return sent is not Sent.FAILED


def _is_waiting(wanted: Conditions) -> bool:
    return any(it.get("type") == PROGRAMMED and it.get("status") == "Unknown" for it in wanted)


Due = tuple[Subject, Conditions]


async def _all(
    due: Sequence[Due], write: Callable[[Subject, Conditions], Awaitable[bool]]
) -> list[Ref]:
    """Make all writes, a few at once; return what has to be tried again."""
    left = iter(due)
    failed: list[Ref] = []

    async def work() -> None:
        for subject, wanted in left:
            if not await write(subject, wanted):
                failed.append(subject.ref)

    async with Group() as group:
        for _ in range(min(AT_ONCE, len(due))):
            group.create_task(work())
    return failed
