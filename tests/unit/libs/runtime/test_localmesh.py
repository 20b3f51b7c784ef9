import os
import subprocess
from pathlib import Path

import pytest

from libs.runtime import localmesh
from libs.runtime.localmesh import LocalMesh, NoMeshError, Server


def _mesh(directory: Path, pid: int) -> LocalMesh:
    return LocalMesh(
        pid=pid,
        version="0",
        mode="loopback",
        run_directory=str(directory),
        manifests="",
        trust_domain="cluster.local",
        system_namespace="istio-system",
        redis="",
        credentials="",
        token_file="",
        servers={"ca": Server(grpc="127.66.0.1:15012")},
        workloads={},
    )


def test_a_mesh_is_found_from_any_directory_below(tmp_path: Path) -> None:
    run = tmp_path / localmesh.RUN_DIRECTORY
    run.mkdir(parents=True)
    localmesh.write(_mesh(run, os.getpid()))
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    path = localmesh.find(below)
    assert path == run / localmesh.STATE_FILE
    assert localmesh.load(path).servers["ca"].grpc == "127.66.0.1:15012"


def test_nothing_is_found_where_nothing_runs(tmp_path: Path) -> None:
    assert localmesh.find(tmp_path) is None


def test_a_mesh_whose_process_is_gone_is_none(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    localmesh.write(_mesh(tmp_path, ended.pid))
    with pytest.raises(NoMeshError, match="has ended"):
        localmesh.load(tmp_path / localmesh.STATE_FILE)


def test_a_broken_state_file_is_no_mesh(tmp_path: Path) -> None:
    (tmp_path / localmesh.STATE_FILE).write_text("{")
    with pytest.raises(NoMeshError, match="cannot be read"):
        localmesh.load(tmp_path / localmesh.STATE_FILE)
