"""Registrar: brings WorkloadEntries to what machines are connected, in few writes.

What may have moved is a set of names, so whatever happens to a machine between two rounds is one
look. A round makes at most MAX_ROUND writes; the others wait for the next. Of one entry annotations
are written at most every PAUSE_SECONDS and health every HEALTH_SECONDS: a machine that comes and
goes all the time costs a write now and then. After a write nothing more is done to an entry before
the source has told what it is now. A group registers at most MAX_MACHINES; further ones are left
out, counted in `seine_machines_left_out_total`.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import Counter

from libs.api.networking.workload_group import WorkloadGroup
from libs.api.resource import Resource
from libs.model.ids import Ref, ref
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock
from libs.runtime.tasks import pause
from services.discovery import metrics
from services.discovery.machines import plan
from services.discovery.machines.entries import Entries, Outcome
from services.discovery.machines.place import Place
from services.discovery.machines.plan import Terms
from services.discovery.machines.roster import Roster

logger = logging.getLogger(__name__)

ROUND_SECONDS = 0.25
MAX_ROUND = 25
MAX_MACHINES = 2000
PAUSE_SECONDS = 5.0
HEALTH_SECONDS = 1.0
TOLD_SECONDS = 5.0
"""After a write, how long the source has to tell of it before the entry is looked at again."""
REFUSED_SECONDS = 30.0
BACKOFF = Backoff(first=0.5, limit=30.0)


class Registrar:
    """Knows what has moved; `run` writes."""

    def __init__(
        self, entries: Entries, clock: Clock, *, terms: Terms, check: Callable[[], None]
    ) -> None:
        """`check` raises if this process may not write (any more)."""
        self._entries = entries
        self._clock = clock
        self._terms = terms
        self._check = check
        self.roster = Roster(self.note, self.note_all)
        self._groups: Mapping[Ref, Resource] = {}
        self._moved: dict[Place, None] = {}
        self._due: dict[Place, float] = {}  # monotonic seconds of another look
        self._held: dict[Place, float] = {}  # until when nothing is done after a write
        self._annotated: dict[Place, float] = {}
        self._told: dict[Place, float] = {}
        self._taken: set[Place] = set()
        self._wake = asyncio.Event()

    def note(self, places: Iterable[Place]) -> None:
        """Look at these in the next round."""
        for place in places:
            self._moved[place] = None
        if self._moved:
            self._wake.set()

    def note_all(self) -> None:
        """Look at everything."""
        self.note(self._entries)
        self.note(self.roster)

    def seen(self, place: Place) -> None:
        """Take note that the source has told what an entry is now."""
        self._held.pop(place, None)
        self.note([place])

    def use(self, groups: Mapping[Ref, Resource]) -> None:
        """Let `groups` be the WorkloadGroups that there are."""
        if groups is not self._groups:
            self._groups = groups
            self.note_all()

    async def run(self) -> None:
        """Write until cancelled.

        Raises:
            LeaseLostError: this process does not lead any more.

        """
        self._held.clear()
        self.note_all()
        attempt = 0
        while True:
            await self._something_to_do()
            await self._clock.sleep(ROUND_SECONDS)
            self._wake.clear()
            failed = await self._round()
            attempt = attempt + 1 if failed else 0
            if failed:
                self.note(failed)
                await self._clock.sleep(BACKOFF.delay(attempt, chance()))

    async def _something_to_do(self) -> None:
        """Return when something has moved, or has to be looked at again."""
        if not self._due:
            await self._wake.wait()
            return
        left = min(self._due.values()) - self._clock.monotonic()
        if left > 0:
            await pause(left, self._wake, self._clock)
        now = self._clock.monotonic()
        for place in [place for place, due in self._due.items() if due <= now]:
            del self._due[place]
            self._moved[place] = None

    async def _round(self) -> list[Place]:
        """Do what there is to do; return what has to be tried again."""
        moved, self._moved = self._moved, {}
        failed: list[Place] = []
        writes = 0
        for place in moved:
            if writes >= MAX_ROUND:
                self.note([place])
                continue
            outcome = await self._look(place)
            writes += outcome is not None
            if outcome is Outcome.FAILED:
                failed.append(place)
        return failed

    async def _look(self, place: Place) -> Outcome | None:
        """Do what one entry needs; None if nothing was written."""
        if self._is_held(place):
            return None
        step = self._step(place)
        match step:
            case None:
                self._forget(place)
            case plan.Look(seconds):
                self._again(place, seconds)
            case plan.Taken():
                self._say_taken(place)
            case _:
                return await self._write(place, step)
        return None

    def _step(self, place: Place) -> plan.Step:
        entry, present = self._entries.get(place), self.roster.get(place)
        name = present.machine.group if present else entry.group if entry else ""
        found = self._groups.get(ref("WorkloadGroup", place.namespace, name))
        return plan.decide(
            entry,
            present,
            found if isinstance(found, WorkloadGroup) else None,
            heard=self.roster.heard,
            now=self._clock.now(),
            terms=self._terms,
        )

    async def _write(self, place: Place, step: plan.Step) -> Outcome | None:
        wait = self._too_soon(place, step)
        if wait > 0:
            self._again(place, wait)
            return None
        if isinstance(step, plan.Create) and self._is_full(place):
            return None
        self._check()
        self._hold(place, TOLD_SECONDS)
        outcome = await self._do(place, step)
        extra = {"entry": "/".join(place), "step": type(step).__name__, "outcome": outcome}
        logger.info("entry of a machine", extra=extra)
        if outcome is Outcome.REFUSED:
            self._hold(place, REFUSED_SECONDS)
        elif outcome is Outcome.FAILED:
            self._held.pop(place, None)
        if outcome is not Outcome.WRITTEN:
            metrics.REGISTRATION_ERRORS.inc()
        return outcome

    async def _do(self, place: Place, step: plan.Step) -> Outcome:
        entry = self._entries.get(place)
        if isinstance(step, plan.Create):
            outcome = await self._entries.create(place, step.document)
            _count(outcome, metrics.REGISTRATIONS)
            return outcome
        if entry is None:
            return Outcome.OUTDATED
        now = self._clock.monotonic()
        match step:
            case plan.Annotate(annotations, lost):
                outcome = await self._entries.annotate(entry, annotations)
                if outcome is not Outcome.OUTDATED:  # over what somebody has changed: no write
                    self._annotated[place] = now
                moved = metrics.UNREGISTRATIONS if lost else metrics.REGISTRATION_UPDATES
                _count(outcome, moved)
            case plan.Tell(health):
                outcome = await self._entries.tell(entry, health)
                if outcome is not Outcome.OUTDATED:
                    self._told[place] = now
            case _:
                outcome = await self._entries.delete(entry)
                _count(outcome, metrics.REGISTRATION_DELETES)
        return outcome

    def _too_soon(self, place: Place, step: plan.Step) -> float:
        """Return for how many seconds a write has to wait."""
        now = self._clock.monotonic()
        if isinstance(step, plan.Annotate) and place in self._annotated:
            return self._annotated[place] + PAUSE_SECONDS - now
        if isinstance(step, plan.Tell) and place in self._told:
            return self._told[place] + HEALTH_SECONDS - now
        return 0.0

    def _is_full(self, place: Place) -> bool:
        present = self.roster.get(place)
        group = present.machine.group if present else ""
        if self._entries.count(place.namespace, group) < MAX_MACHINES:
            return False
        metrics.MACHINES_LEFT_OUT.inc()
        logger.warning("group is full", extra={"group": f"{place.namespace}/{group}"})
        return True

    def _hold(self, place: Place, seconds: float) -> None:
        self._held[place] = self._clock.monotonic() + seconds
        self._again(place, seconds)

    def _is_held(self, place: Place) -> bool:
        left = self._held.get(place, 0.0) - self._clock.monotonic()
        if left <= 0:
            self._held.pop(place, None)
            return False
        return True  # and is due then

    def _again(self, place: Place, seconds: float) -> None:
        self._due[place] = self._clock.monotonic() + seconds

    def _say_taken(self, place: Place) -> None:
        if place not in self._taken:
            self._taken.add(place)
            metrics.REGISTRATION_ERRORS.inc()
            logger.warning("name of a machine is taken", extra={"entry": "/".join(place)})

    def _forget(self, place: Place) -> None:
        if self._entries.get(place) is None and self.roster.get(place) is None:
            self._annotated.pop(place, None)
            self._told.pop(place, None)
            self._taken.discard(place)


def _count(outcome: Outcome, counter: Counter) -> None:
    if outcome is Outcome.WRITTEN:
        counter.inc()
