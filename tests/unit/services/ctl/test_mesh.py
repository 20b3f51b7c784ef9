"""Finding the mesh, and the helpful words when there is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from libs.runtime import localmesh
from services.ctl import mesh

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize(
    "words",
    [["check"], ["proxy-status"], ["proxy-config", "route", "x.y"], ["receipts"], ["problems"]],
)
def test_without_a_mesh_a_command_says_how_to_start_one(tmp_path: Path, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.ctl", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "KUBECONFIG": ""},  # noqa: TID251
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no mesh runs here" in done.stderr
    assert "make demo" in done.stderr


def test_a_mesh_that_has_ended_is_said_to_have_ended(tmp_path: Path) -> None:
    path = tmp_path / localmesh.STATE_FILE
    path.write_text("{}")
    with pytest.raises(SystemExit) as ended:
        mesh.find(path)
    assert ended.value.code == 2


def test_a_proxy_is_found_by_the_beginning_of_its_name() -> None:
    found = ("web-1.shop", "web-2.shop", "api-1.shop", "api-1.other", "db.shop", "db-2.shop")
    assert mesh.full_name(found, "web-1.shop") == "web-1.shop"
    assert mesh.full_name(found, "web-1") == "web-1.shop"
    assert mesh.full_name(found, "api.other") == "api-1.other"
    assert mesh.full_name(found, "db") == "db.shop"
    assert mesh.full_name(found, "web") == "web"  # two begin so
    assert mesh.full_name(found, "none") == "none"
    assert mesh.full_name(found, "api", "other") == "api-1.other"
    assert mesh.full_name(found, "api.shop", "other") == "api-1.shop"
