"""Which mesh is meant, and what is said if it could be another one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from libs.runtime import localmesh
from libs.runtime.localmesh import LocalMesh
from services.ctl.where import Cluster, Where, find


def _gone() -> int:
    """Return the number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def _write(folder: Path, pid: int) -> Path:
    """Write the state file of a mesh."""
    run = folder / localmesh.RUN_DIRECTORY
    run.mkdir(parents=True)
    localmesh.write(
        LocalMesh(
            pid=pid,
            version="",
            mode="loopback",
            run_directory=str(run),
            manifests="",
            trust_domain="",
            system_namespace="",
            redis="",
            credentials="",
            token_file="",
            servers={},
            workloads={},
        )
    )
    return run / localmesh.STATE_FILE


@pytest.fixture(name="home")
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home, here = tmp_path / "home", tmp_path / "here"
    for folder in (home, here):
        folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    return home


def _kubeconfig(home: Path) -> str:
    path = home / ".kube" / "config"
    path.parent.mkdir()
    path.touch()
    return str(path)


def _fails(where: Where, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        find(where)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_without_either_both_are_explained(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del home
    said = _fails(Where(), capsys)
    assert "no mesh runs here" in said
    assert "make demo" in said
    assert "--kubeconfig" in said


def test_a_kubeconfig_is_enough(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _kubeconfig(home)
    assert find(Where()) == Cluster(kubeconfig=path, context="", system_namespace="istio-system")
    found = find(Where(kubeconfig="other", system_namespace="mesh"))
    assert found == Cluster(kubeconfig="other", context="", system_namespace="mesh")
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("home")
def test_a_mesh_that_runs_here_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    _write(Path.cwd(), os.getpid())
    assert isinstance(find(Where()), LocalMesh)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("home")
def test_a_mesh_that_runs_here_goes_before_a_kubeconfig_that_no_option_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _write(Path.cwd(), os.getpid())
    assert isinstance(find(Where(kubeconfig="mine")), LocalMesh)
    said = capsys.readouterr().err
    assert "asking the mesh on this machine; --kubeconfig mine asks the cluster" in said


@pytest.mark.usefixtures("home")
def test_an_option_means_the_cluster_whatever_runs_here() -> None:
    state = _write(Path.cwd(), os.getpid())
    assert isinstance(find(Where(kubeconfig="mine", in_cluster=True)), Cluster)
    assert isinstance(find(Where(kubeconfig="mine", mesh=state)), LocalMesh)


def test_a_mesh_that_has_ended_gives_way(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(Path.cwd(), _gone())
    said = _fails(Where(), capsys)
    assert "no mesh runs here: the mesh of" in said
    path = _kubeconfig(home)
    assert isinstance(find(Where()), Cluster)
    assert f"asking the cluster of {path}" in capsys.readouterr().err


def test_two_meanings_are_none(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del home
    where = Where(mesh=Path("state.json"), kubeconfig="mine", in_cluster=True)
    assert "say one" in _fails(where, capsys)
