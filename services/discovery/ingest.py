"""Ingest: the one loop that owns the state: files in, meshes and problems out.

It takes everything that has changed since it last looked and works on that, at once; what changes
meanwhile is the next batch. So the busier it is, the larger its batches, and a lone change never
waits. Reading, checking and translating happen in a thread, one batch at a time.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from msgspec.structs import replace

from libs.api import reasons
from libs.api.check import Complete, as_written
from libs.api.problem import Problem, Severity
from libs.model import changes
from libs.model.ids import Ref, parse_ref
from libs.model.mesh import Mesh
from libs.model.settings import MeshSettings
from libs.runtime.clock import Clock
from libs.translate.apply import Event, State, Step, Upsert, apply, initial
from services.discovery import metrics
from services.discovery.counting import Counting
from services.discovery.files import Batch, FileText
from services.discovery.manifests import Manifests
from services.discovery.memory import collection_held_back
from services.discovery.numbering import Numbering
from services.discovery.reading import Reading, read, unreadable
from services.discovery.selection import Selection

logger = logging.getLogger(__name__)

LARGE_BATCH = 64 * 1024
"""Characters from which on a batch is worth telling the garbage collector about."""

Publish = Callable[[Step], None]
"""Gets each step, with all problems, those of the files included, in its `problems`."""

Prepare = Callable[[Mesh], Awaitable[Batch]]
"""Gets the first mesh before anybody else, and gives what belongs to it but is in no file."""


class Ingest:
    """Owns the state; `run` is its loop."""

    def __init__(
        self,
        settings: MeshSettings,
        publish: Publish,
        clock: Clock,
        *,
        complete: Complete = as_written,
        prepare: Prepare | None = None,
        numbering: Numbering | None = None,
    ) -> None:
        self._state: State = initial(settings)
        self._publish = publish
        self._clock = clock
        self._complete = complete
        self._prepare = prepare
        self._number = numbering or Numbering(clock)
        self._manifests = Manifests()
        self._selection = Selection(settings.root_namespace, settings.config_map)
        self._counting = Counting()
        self._bugs: frozenset[str] = frozenset()
        self._objects: dict[Ref, tuple[Problem, ...]] = {}  # what is wrong with what has no file

    @property
    def state(self) -> State:
        """The latest state."""
        return self._state

    def located(self, problem: Problem) -> Problem:
        """Return a problem of a resource with file and line, if it came from a file."""
        return self._manifests.located(problem)

    async def run(self, batches: AsyncIterator[Batch]) -> None:
        """Take batches until they end or this is cancelled."""
        async for batch in batches:
            steps = [await self._next(batch)]
            if self._prepare is not None:
                prepare, self._prepare = self._prepare, None
                steps.append(await self._next(await prepare(self._state.mesh)))
            for step in steps:
                self._publish(step)

    async def _next(self, batch: Batch) -> Step:
        step = await asyncio.to_thread(self._take, batch)
        step = step._replace(delta=replace(step.delta, change=self._number()))
        self._state = step.state
        _log(batch, step)
        self._report(step.problems)
        return step

    def _report(self, problems: tuple[Problem, ...]) -> None:
        """Log what objects brought to light in us, once each: people must not miss that."""
        bugs = {it.text: it.ref for it in problems if it.reason == reasons.INTERNAL_ERROR}
        for text in bugs.keys() - self._bugs:
            logger.error("bug brought to light", extra={"ref": bugs[text], "reason": text})
        self._bugs = frozenset(bugs)

    def _take(self, batch: Batch) -> Step:
        with collection_held_back(large=batch.size >= LARGE_BATCH):
            readings = {file.name: self._reading(file) for file in batch.files}
            events = [*self._manifests.update(readings, batch.observed), *batch.events]
            events = self._selection(events, self._state.resources)
            step = self._apply(events)
            self._objects |= batch.problems
            self._objects = {about: found for about, found in self._objects.items() if found}
            problems = {*self._manifests.problems(), *map(self._manifests.located, step.problems)}
            problems.update(*self._objects.values())
            step = step._replace(problems=tuple(sorted(problems)))
        _count(events, step)
        self._counting.update(step.state.mesh, step.problems)
        return step

    def _apply(self, events: list[Event]) -> Step:
        started = self._clock.monotonic()
        step = apply(self._state, events)
        metrics.APPLY_SECONDS.observe(self._clock.monotonic() - started)
        return step

    def _reading(self, file: FileText) -> Reading | None:
        if file.text is not None:
            return read(file.name, file.text, self._complete)
        return unreadable(file.name, file.fault) if file.fault else None


def _count(events: list[Event], step: Step) -> None:
    for event in events:
        happened = "upsert" if isinstance(event, Upsert) else "delete"
        metrics.CONFIG_EVENTS.labels(parse_ref(event.ref)[0], happened).inc()
    metrics.SERVICES.set(len(step.state.mesh.services))
    metrics.VIRTUAL_SERVICES.set(len(step.state.mesh.routings))
    errors = [it for it in step.problems if it.severity is Severity.ERROR]
    metrics.PROBLEMS.labels(Severity.ERROR).set(len(errors))
    metrics.PROBLEMS.labels(Severity.WARNING).set(len(step.problems) - len(errors))
    metrics.REJECTED.set(len({_subject(problem) for problem in errors}))


def _subject(problem: Problem) -> tuple[str, str, int]:
    return (problem.ref, "", 0) if problem.ref else ("", problem.file, problem.line)


def _log(batch: Batch, step: Step) -> None:
    # A cluster changes all the time in ways that change nothing here.
    matters = batch.files or step.delta.keys or step.problems
    logger.log(
        logging.INFO if matters else logging.DEBUG,
        "configuration taken in",
        extra={
            "files": len(batch.files),
            "change": changes.name(step.delta.change),
            "rows": len(step.delta.keys),
            "problems": len(step.problems),
        },
    )
