"""Supervision, with small programs in Envoy's place."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from libs.runtime.backoff import Backoff
from libs.runtime.clock import SystemClock
from libs.runtime.tasks import background
from services.agent import envoy
from services.agent.envoy import Envoy, EnvoyError
from tests.support import agent as agents

AT_ONCE = Backoff(first=0.001, limit=0.001)
PARENT = """
import asyncio, sys
from services.agent.envoy import Envoy
asyncio.run(Envoy(["sleep", "1000"], on_start=lambda: None).run())
"""


async def started(supervised: Envoy, other_than: int = 0) -> int:
    async with asyncio.timeout(60):
        while supervised.pid in {0, other_than}:  # noqa: ASYNC110 - a process has no event
            await asyncio.sleep(0.005)
    return supervised.pid


async def test_a_crash_is_answered_with_a_new_start() -> None:
    starts: list[None] = []
    supervised = Envoy(["sleep", "1000"], on_start=lambda: starts.append(None), backoff=AT_ONCE)
    async with background(supervised.run()):
        first = await started(supervised)
        os.kill(first, signal.SIGKILL)
        second = await started(supervised, first)
        assert len(starts) == 2
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)
    assert supervised.pid == 0


async def test_one_that_does_not_stay_up_ends_the_agent() -> None:
    supervised = Envoy(["false"], backoff=AT_ONCE)
    with pytest.raises(EnvoyError, match="exit code was 1"):
        await supervised.run()


async def test_one_that_does_not_exist_is_said_to_be_so() -> None:
    with pytest.raises(EnvoyError, match="cannot start envoy"):
        await Envoy(["/nowhere/envoy"]).run()


async def test_one_that_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envoy, "KILL_AFTER_SECONDS", 0.1)
    deaf = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(99)"
    )
    supervised = Envoy([sys.executable, "-c", deaf], clock=SystemClock())
    async with background(supervised.run()):
        pid = await started(supervised)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_it_dies_with_its_agent() -> None:
    agent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT)
    async with asyncio.timeout(60):
        try:
            while not (found := agents.children(agent.pid)):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
        finally:
            agent.kill()
            await agent.wait()
        while not agents.gone(found[0]):  # noqa: ASYNC110 - not our child
            await asyncio.sleep(0.01)


def test_a_configured_binary_wins() -> None:
    assert envoy.binary("/usr/local/bin/envoy") == "/usr/local/bin/envoy"
    assert Path(envoy.binary("")).name == "envoy"


def test_the_command_line_names_workers_only_when_asked() -> None:
    line = envoy.command("envoy", Path("x.json"), concurrency=0, drain_seconds=45.0)
    assert "--concurrency" not in line
    line = envoy.command("envoy", Path("x.json"), concurrency=2, drain_seconds=0.2)
    assert line[line.index("--concurrency") + 1] == "2"
    assert line[line.index("--drain-time-s") + 1] == "1"
