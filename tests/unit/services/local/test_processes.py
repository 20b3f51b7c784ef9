"""Children: real ones, because what counts is what the kernel does with them."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.local import processes, rundir
from services.local.processes import Died, Program
from services.local.supervisor import StartError, supervising


def _program(tmp_path: Path, script: str, **more: object) -> Program:
    return Program(
        name="child",
        command=("sh", "-c", script),
        environment=dict(os.environ),  # noqa: TID251
        log=tmp_path / "child.log",
        **more,  # type: ignore[arg-type]
    )


async def _ignore(died: Died) -> None:
    del died


async def test_lines_are_heard_and_logged(tmp_path: Path) -> None:
    heard: list[str] = []
    directory, _ = rundir.claim(tmp_path / "run")
    complete = asyncio.Event()

    def hear(line: str) -> None:
        heard.append(line)
        if line == "two":
            complete.set()

    async with supervising(directory, _ignore) as supervisor:
        supervisor.next_tier()
        script = "echo oops >&2; echo one; echo two; exec sleep 60"
        supervisor.start(_program(tmp_path, script, on_line=hear))
        await asyncio.wait_for(complete.wait(), 60)
    assert heard == ["one", "two"]
    assert "oops" in (tmp_path / "child.log").read_text()
    directory.close()


async def test_a_child_that_dies_is_told_of_and_started_again(tmp_path: Path) -> None:
    deaths: asyncio.Queue[Died] = asyncio.Queue()
    directory, _ = rundir.claim(tmp_path / "run")
    async with supervising(directory, deaths.put) as supervisor:
        supervisor.next_tier()
        child = supervisor.start(_program(tmp_path, "exec sleep 60"))
        await _until(lambda: child.pid)
        first = child.pid
        os.kill(first, signal.SIGKILL)
        died = await asyncio.wait_for(deaths.get(), 60)
        assert died.how == "killed by SIGKILL"
        await _until(lambda: child.pid not in {0, first})
        second = child.pid
    assert rundir._read_process(second) is None
    directory.close()


async def test_nothing_of_a_session_outlives_the_end(tmp_path: Path) -> None:
    directory, _ = rundir.claim(tmp_path / "run")
    heard = asyncio.Event()
    async with supervising(directory, _ignore) as supervisor:
        supervisor.next_tier()
        script = "trap '' TERM; sleep 600 & echo ready; wait; sleep 600"
        child = supervisor.start(_program(tmp_path, script, on_line=lambda _: heard.set()))
        await asyncio.wait_for(heard.wait(), 60)
        session = child.pid
        child.stop = _hurried(child)  # type: ignore[method-assign]
    assert list(rundir.members(session)) == []
    directory.close()


async def test_a_program_that_does_not_stay_up_ends_the_start_with_its_log(tmp_path: Path) -> None:
    directory, _ = rundir.claim(tmp_path / "run")
    with pytest.RaisesGroup(
        pytest.RaisesGroup(pytest.RaisesExc(StartError, match="no such thing"))
    ):
        async with supervising(directory, _ignore) as supervisor:
            supervisor.next_tier()
            supervisor.start(_program(tmp_path, "echo no such thing >&2; exit 3"))
            await supervisor.while_alive(asyncio.sleep(60))
    directory.close()


async def test_the_kernel_ends_a_child_whose_parent_was_killed(tmp_path: Path) -> None:
    command = processes.tied(["sleep", "600"])
    if command[0] != "setpriv":
        pytest.skip("setpriv is not installed: the next run cleans up instead")
    script = (
        f"import subprocess; child = subprocess.Popen({command!r}); "
        "print(child.pid, flush=True); child.wait()"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    await _until(lambda: b"sleep" in Path(f"/proc/{child}/cmdline").read_bytes()[:6])
    parent.kill()
    await parent.wait()
    await _until(lambda: rundir._read_process(child) is None)


def _hurried(child: processes.Child) -> object:
    stop = child.stop

    async def hurried(seconds: float = 0.1) -> None:
        await stop(seconds)

    return hurried


async def _until(condition: Callable[[], object]) -> None:
    """Wait for something that only the kernel knows: it tells nobody."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
