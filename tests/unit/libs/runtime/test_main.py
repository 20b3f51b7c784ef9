"""Real processes: what a supervisor and an operator see."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio
import ctypes
import os
import sys
from msgspec import Struct
from libs.runtime.main import run

class Settings(Struct, frozen=True):
    end: str = "return"
    \"\"\"How to end.\"\"\"
    log_level: str = "info"

async def crash():
    raise ValueError("broken task")

async def serve(settings):
    if settings.end == "crash":
        async with asyncio.TaskGroup() as group:
            group.create_task(crash())
            await asyncio.Event().wait()
    if settings.end == "cancel":
        raise asyncio.CancelledError
    if settings.end == "wait":
        print("waiting", flush=True)
        try:
            await asyncio.Event().wait()
        finally:
            print("cleaned up", flush=True)

async def idle(settings):
    print("idle", flush=True)
    await asyncio.Event().wait()

if sys.argv[1:] == ["as nobody"]:  # a process of root's own would tell nothing
    sys.argv.pop()
    if os.geteuid() == 0:
        os.setuid(65534)
    PR_SET_DUMPABLE = 4
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    print("dumpable", flush=True)
    sys.stdin.readline()
    serve = idle
run("test", Settings, serve)
"""


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)


def start(*arguments: str, **settings: str) -> subprocess.Popen[str]:
    environ = {
        "PATH": os.defpath,
        "PYTHONPATH": str(Path(__file__).parents[4]),
        **{f"SEINE_{name.upper()}": value for name, value in settings.items()},
    }
    return subprocess.Popen(
        [sys.executable, "program.py", *arguments],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=30)
    return process.returncode, output, errors


def test_returning_is_a_normal_end() -> None:
    code, _, errors = finish(start())
    assert code == 0
    assert json.loads(errors)["message"] == "process stopped"


def test_a_crashed_task_ends_the_process_with_a_log_line() -> None:
    code, _, errors = finish(start(end="crash"))
    line = json.loads(errors)
    assert code == 1
    assert line["message"] == "process crashed"
    assert "broken task" in line["exception"]


def test_a_serve_that_cancels_itself_has_crashed() -> None:
    assert finish(start(end="cancel"))[0] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_cancels_and_lets_clean_up(number: int) -> None:
    process = start(end="wait")
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(number)
    code, output, errors = finish(process)
    assert (code, output) == (0, "cleaned up\n")
    assert json.loads(errors)["message"] == "process stopped"


def test_wrong_settings_are_named_before_anything_starts() -> None:
    code, _, errors = finish(start(ende="crash"))
    assert code == 2
    assert errors == "test: SEINE_ENDE is not a setting of this service, did you mean SEINE_END?\n"
    assert finish(start(log_level="loud"))[0] == 2
    assert finish(start("serve"))[0] == 2


def test_print_settings_and_help() -> None:
    code, output, _ = finish(start("--print-settings", end="x"))
    assert (code, json.loads(output)) == (0, {"SEINE_END": "x", "SEINE_LOG_LEVEL": "info"})
    code, output, _ = finish(start("--help", nonsense="x"))
    assert code == 0
    assert "SEINE_END (str, default 'return')\n      How to end." in output


def test_the_memory_of_a_service_is_closed_to_its_own_user() -> None:
    """Negative control: before `run` its user could read it, and have it dumped."""
    process = start("as nobody")
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "dumpable\n"
        assert _owner_of_memory(process.pid) != 0
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "idle\n"
        assert _owner_of_memory(process.pid) == 0
        limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
        core = next(line for line in limits if "core file" in line)
        assert core.split()[4:6] == ["0", "0"]
    finally:
        process.kill()
        process.communicate()


def _owner_of_memory(pid: int) -> int:
    return Path(f"/proc/{pid}/mem").stat().st_uid
