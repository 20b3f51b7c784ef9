import subprocess
from pathlib import Path

import pytest

from services.local import rundir
from services.local.rundir import AlreadyRunningError


def test_a_second_run_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    first, _ = rundir.claim(tmp_path)
    with pytest.raises(AlreadyRunningError, match="already runs"):
        rundir.claim(tmp_path)
    first.close()
    again, ended = rundir.claim(tmp_path)
    assert ended == []
    again.close()


def test_what_a_killed_run_left_is_ended_by_the_next(tmp_path: Path) -> None:
    # A shell that leads a session and dies, while its child lives on: an agent and its Envoy.
    shell = subprocess.Popen(
        ["sh", "-c", "sleep 600 >/dev/null & echo $!; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert shell.stdout is not None
    orphan = int(shell.stdout.readline())
    directory, _ = rundir.claim(tmp_path)
    directory.remember(shell.pid)
    shell.communicate(b"\n")
    assert list(rundir.members(shell.pid)) == [orphan]
    directory._lock.close()  # as if the run had been killed

    again, ended = rundir.claim(tmp_path)
    assert ended == [orphan]
    again.close()


def test_a_session_that_is_not_the_recorded_one_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    (tmp_path / "sessions").write_text(f"{rundir._boot()} {stranger.pid} 1\n")
    directory, ended = rundir.claim(tmp_path)
    assert ended == []
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()
    directory.close()


@pytest.mark.parametrize("keep", [False, True])
def test_nothing_stays_but_the_logs_of_a_run_that_failed(tmp_path: Path, keep: bool) -> None:
    directory, _ = rundir.claim(tmp_path / ".run" / "local")
    (directory.logs / "ca.log").write_text("x")
    (directory.generated / "pods.yaml").write_text("x")
    directory.pod("web.shop").mkdir(parents=True)
    directory.close(keep_logs=keep)
    left = {path.name for path in tmp_path.rglob("*")}
    assert left == ({".run", "local", "logs", "ca.log"} if keep else set())
