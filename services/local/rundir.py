"""The run directory: everything that a run writes, and the memory of what it started.

`.run/local` below the working directory. A lock says that a run is alive; the list of sessions says
which processes were started, so that the next run can end those that outlived a killed one. The
directory goes with the run; only if something went wrong its logs stay.
"""

import contextlib
import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from msgspec import Struct

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class AlreadyRunningError(Exception):
    """Another run uses the directory; the message says which process."""


class _Process(Struct, frozen=True):
    pid: int
    session: int
    started: int  # clock ticks since boot


class RunDirectory:
    """An open run directory: claimed, and cleared of what an earlier run left."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path = path
        self._lock = lock
        self._sessions = path / "sessions"

    @property
    def logs(self) -> Path:
        """Where each process writes its log."""
        return self.path / "logs"

    @property
    def generated(self) -> Path:
        """Manifests with what a cluster would fill in: addresses and readiness."""
        return self.path / "generated"

    def pod(self, key: str) -> Path:
        """The root of one pod's files, as its agent sees them."""
        return self.path / "pods" / key

    def remember(self, session: int) -> None:
        """Record a session that was started; its leader still lives."""
        process = _read_process(session)
        if process is not None:
            with self._sessions.open("a") as file:
                file.write(f"{_boot()} {session} {process.started}\n")

    def close(self, *, keep_logs: bool = False) -> None:
        """Remove the directory, or everything in it but the logs, and let it go."""
        _clear(self.path, kept={"logs"} if keep_logs else set())
        ours = (self.path, self.path.parent) if self.path.parent.name == ".run" else (self.path,)
        for empty in ours:
            with contextlib.suppress(OSError):
                empty.rmdir()
        self._lock.close()


def claim(path: Path) -> tuple[RunDirectory, list[int]]:
    """Claim the directory; return it with the processes of an earlier run that were ended.

    Raises:
        AlreadyRunningError: another run is alive in it.

    """
    lock = _locked(path)
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    ended = _end_leftovers(path / "sessions")
    _clear(path, kept={"lock"})
    directory = RunDirectory(path, lock)
    for made in (directory.logs, directory.generated, path / "pods"):
        made.mkdir(parents=True, exist_ok=True)
    return directory, ended


def _locked(path: Path) -> IO[str]:
    while True:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            message = f"a mesh already runs in {path} (process {owner})"
            raise AlreadyRunningError(message) from error
        if (path / "lock").exists() and os.path.samestat(
            os.fstat(lock.fileno()), (path / "lock").stat()
        ):
            return lock
        lock.close()  # a run that ended took the file away between our two steps


def members(session: int) -> Iterator[int]:
    """Yield the processes of a session that still live."""
    return (process.pid for process in _processes() if process.session == session)


def _end_leftovers(sessions: Path) -> list[int]:
    """Kill what is left of recorded sessions: those whose leader is the recorded one, or gone."""
    recorded = dict(_recorded(sessions))
    ended = []
    leaders = {process.pid: process.started for process in _processes()}
    for process in _processes():
        started = recorded.get(process.session)
        if started is None or leaders.get(process.session, started) != started:
            continue
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, signal.SIGKILL)
            ended.append(process.pid)
    return ended


def _recorded(sessions: Path) -> Iterator[tuple[int, int]]:
    try:
        lines = sessions.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        boot, session, started = line.split()
        if boot == _boot():
            yield int(session), int(started)


def _processes() -> Iterator[_Process]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (process := _read_process(int(entry.name))):
            yield process


def _read_process(pid: int) -> _Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    if fields[0] == "Z":
        return None
    return _Process(pid, session=int(fields[3]), started=int(fields[19]))


def _boot() -> str:
    return _BOOT_ID.read_text().strip()


def _clear(path: Path, *, kept: set[str]) -> None:
    for entry in path.iterdir():
        if entry.name in kept:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
