"""Processes: children that are restarted when they die, and that never outlive this process.

Each child leads a session of its own, so that Ctrl-C in the terminal reaches only us and we stop
them in order; its descendants (an agent's Envoy) stay in that session, by which `leftovers` finds
them even after we were killed. The kernel ends a child when we die (parent death signal).
Output goes to a log file. A child whose lines are wanted (`on_line`) is read as it writes, and its
log is begun anew when it has grown to `MAX_LOG_BYTES`: access logs never end.
What to run and in which order is not decided here.
"""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from msgspec import Struct

from libs.runtime.backoff import Backoff
from libs.runtime.clock import Clock, SystemClock

STOP_SECONDS = 8.0
MAX_LINE_BYTES = 256 * 1024
MAX_LOG_BYTES = 16 * 1024 * 1024
_RESTART = Backoff(first=0.1, limit=5.0)
_STEADY_SECONDS = 10.0  # a child that lived that long did not die of its start


class Program(Struct, frozen=True, kw_only=True):
    """What to run. `command` is complete: prefixes that enter a namespace are part of it."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    keep_alive: bool = True  # False: its end is an error of the start, True: it is restarted
    on_line: Callable[[str], None] | None = None
    cwd: Path | None = None
    user: int = 0  # whom the command becomes: may open its own standard output, as Envoy does


class Died(Struct, frozen=True):
    """A child ended by itself. `status` is its exit status, negative for a signal."""

    name: str
    status: int
    restarting: bool

    @property
    def how(self) -> str:
        """The end in words."""
        if self.status < 0:
            return f"killed by {signal.Signals(-self.status).name}"
        return f"ended with status {self.status}"


class Child:
    """One supervised program."""

    def __init__(
        self,
        program: Program,
        *,
        on_start: Callable[[str, int], None],
        on_death: Callable[[Died], None],
        clock: Clock | None = None,
    ) -> None:
        self.program = program
        self._clock = clock or SystemClock()
        self._on_start = on_start
        self._on_death = on_death
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def pid(self) -> int:
        """The process id, or 0 while there is none."""
        process = self._process
        return process.pid if process and process.returncode is None else 0

    async def run(self) -> None:
        """Run the program, again whenever it dies, until `stop`."""
        attempt = 0
        while not self._stopping:
            started = self._clock.monotonic()
            status = await self._once()
            if self._stopping:
                return
            restarting = self.program.keep_alive
            self._on_death(Died(self.program.name, status, restarting))
            if not restarting:
                return
            lived = self._clock.monotonic() - started
            attempt = 0 if lived > _STEADY_SECONDS else attempt + 1
            await self._clock.sleep(_RESTART.delay(attempt, 0.5) if attempt > 1 else 0)

    async def _once(self) -> int:
        self.program.log.parent.mkdir(parents=True, exist_ok=True)
        with self.program.log.open("ab", buffering=0) as log:
            if self.program.on_line is None:
                process = await self._spawn(log, log)
                return await process.wait()
            async with _pipe(self.program.user) as (stream, end):
                with end:
                    process = await self._spawn(end, log)
                await self._read(stream, log, self.program.on_line)
                return await process.wait()

    async def _spawn(self, output: IO[bytes], errors: IO[bytes]) -> asyncio.subprocess.Process:
        self._process = process = await asyncio.create_subprocess_exec(
            *tied(self.program.command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=dict(self.program.environment),
            cwd=self.program.cwd,
            start_new_session=True,
        )
        self._on_start(self.program.name, process.pid)
        return process

    async def _read(
        self, stream: asyncio.StreamReader, log: IO[bytes], handle: Callable[[str], None]
    ) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:
                continue  # longer than MAX_LINE_BYTES: not one of ours
            if not line:
                return
            if log.tell() > MAX_LOG_BYTES:
                log.truncate(0)
            log.write(line)
            handle(line.decode(errors="replace").rstrip("\n"))

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ask the program to end, and after `seconds` make its whole session end."""
        self._stopping = True
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(seconds):
                    await process.wait()
            except TimeoutError:
                pass
        kill_group(process.pid)
        await process.wait()


@asynccontextmanager
async def _pipe(user: int) -> AsyncIterator[tuple[asyncio.StreamReader, IO[bytes]]]:
    """Yield both ends of a pipe: ours as a stream, and the child's, which `user` may open again."""
    ours, theirs = os.pipe()
    if user:
        os.fchown(theirs, user, user)
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", buffering=0)
    )
    try:
        yield reader, os.fdopen(theirs, "wb", buffering=0)
    finally:
        transport.close()


def kill_group(leader: int) -> None:
    """Kill whatever is left of the process group that a child led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def tied(command: Sequence[str]) -> list[str]:
    """Return `command` so that the kernel kills it when its parent dies, where that can be had."""
    if command[0] == "setpriv" or not shutil.which("setpriv"):
        return list(command)
    return ["setpriv", "--pdeathsig", "KILL", "--", *command]
