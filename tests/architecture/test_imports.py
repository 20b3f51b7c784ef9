"""Each import contract holds, and each one bites when it is violated."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).parent / "lint-imports"

VIOLATIONS = {
    "Services above the rooms": ("libs/model/ids.py", "import libs.runtime"),
    "Neither the model nor Envoy's side": ("libs/xds/names.py", "import libs.api.problem"),
    "Services meet over gRPC": ("services/ca/__init__.py", "import services.discovery"),
    "What decides does no I/O": ("libs/translate/__init__.py", "import asyncio"),
    "One room for kubernetes_asyncio": ("libs/cache/__init__.py", "import kubernetes_asyncio"),
    "One room for redis": ("libs/rpc/__init__.py", "import redis"),
    "One room for cryptography": ("libs/rpc/__init__.py", "import cryptography"),
    "Envoy's protos only": ("libs/rpc/__init__.py", "import envoy"),
}


def _lint(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [str(LINT), "--config", str(tree / ".importlinter"), "--no-cache"]
    return subprocess.run(
        command,
        cwd=tree,
        env={"PYTHONPATH": str(tree), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for room in ("libs", "services"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / room, tmp_path / room, ignore=ignored)
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


@pytest.mark.parametrize("contract", VIOLATIONS)
def test_a_violated_contract_is_reported(tree: Path, contract: str) -> None:
    file, statement = VIOLATIONS[contract]
    path = tree / file
    path.write_text(f"{path.read_text()}\n{statement}\n")

    done = _lint(tree)

    broken = [line for line in done.stdout.splitlines() if line.endswith("BROKEN")]
    assert done.returncode != 0
    assert any(line.startswith(contract) for line in broken), done.stdout


def test_every_contract_has_a_violation() -> None:
    lines = (ROOT / ".importlinter").read_text().splitlines()
    names = [line.removeprefix("name = ") for line in lines if line.startswith("name = ")]
    assert all(any(name.startswith(known) for known in VIOLATIONS) for name in names)
    assert len(names) == len(VIOLATIONS)
