"""The supervisor: starts children, says when one has died, ends all of them in reverse order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from libs.runtime.tasks import Group
from services.local.processes import Child, Died, Program, kill_group
from services.local.rundir import RunDirectory, members

OnDeath = Callable[[Died], Coroutine[Any, Any, None]]
_HOPELESS_DEATHS = 3
_TAIL_LINES = 8


class StartError(Exception):
    """A program does not stay up; the message has the end of its log."""


class Supervisor:
    """All children of a run, in tiers: those of a later tier depend on the earlier ones."""

    def __init__(self, group: asyncio.TaskGroup, run: RunDirectory, on_death: OnDeath) -> None:
        self._group = group
        self._run = run
        self._on_death = on_death
        self._tiers: list[list[Child]] = []
        self._sessions: list[int] = []
        self._telling: set[asyncio.Task[None]] = set()
        self._deaths: dict[str, int] = {}
        self._hopeless: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.children: dict[str, Child] = {}

    def pid(self, name: str) -> int:
        """Return the process of a program; 0 while there is none."""
        child = self.children.get(name)
        return child.pid if child else 0

    def next_tier(self) -> None:
        """Begin a tier: what starts from now on is ended before everything that started so far."""
        self._tiers.append([])

    def start(self, program: Program) -> Child:
        """Start a program and keep it running."""
        child = Child(program, on_start=self._started, on_death=self._died)
        self._tiers[-1].append(child)
        self.children[program.name] = child
        self._group.create_task(child.run())
        return child

    async def end(self, name: str) -> None:
        """End one program for good; nothing happens if there is none."""
        child = self.children.pop(name, None)
        if child is not None:
            await child.stop()

    async def while_alive(self, work: Coroutine[Any, Any, object]) -> None:
        """Await `work`, unless a program turns out not to stay up.

        Raises:
            StartError: it does not.

        """
        async with Group() as group:
            watching = group.create_task(self._despair())
            await work
            watching.cancel()

    async def _despair(self) -> None:
        name = await asyncio.shield(self._hopeless)
        log = self.children[name].program.log
        message = f"{name} does not stay up; {log} ends with\n{_tail(log)}"
        raise StartError(message)

    async def stop(self) -> None:
        """End all children, the latest tier first, and whatever is left of their sessions."""
        for task in self._telling:
            task.cancel()
        for tier in reversed(self._tiers):
            await asyncio.gather(*(child.stop() for child in tier))
        for session in self._sessions:
            for _ in members(session):
                kill_group(session)
        self._tiers.clear()

    def _started(self, name: str, pid: int) -> None:
        del name
        self._sessions.append(pid)
        self._run.remember(pid)

    def _died(self, died: Died) -> None:
        task = self._group.create_task(self._on_death(died))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)
        self._deaths[died.name] = self._deaths.get(died.name, 0) + 1
        if self._deaths[died.name] >= _HOPELESS_DEATHS and not self._hopeless.done():
            self._hopeless.set_result(died.name)


@asynccontextmanager
async def supervising(run: RunDirectory, on_death: OnDeath) -> AsyncIterator[Supervisor]:
    """Yield a supervisor; all its children have ended when the block ends."""
    async with Group() as group:
        supervisor = Supervisor(group, run, on_death)
        try:
            yield supervisor
        finally:
            await supervisor.stop()


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return "    (there is no log)"
    return "\n".join(f"    {_readable(line)[:300]}" for line in lines[-_TAIL_LINES:])


def _readable(line: str) -> str:
    """Return what a JSON log line says to a person; any other line as it is."""
    try:
        said = msgspec.json.decode(line, type=dict[str, object])
    except msgspec.DecodeError:
        return line
    last = str(said.get("exception", "")).strip().rpartition("\n")[2]
    return ": ".join(part for part in (str(said.get("message", "")), last) if part) or line
