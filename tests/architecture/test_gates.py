"""Each gate of `make check` refuses a bad sample."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

BAD = {
    "TID251": '"""Doc."""\n\nimport os\n\nHOME = os.environ["HOME"]\n',
    "S301": '"""Doc."""\n\nimport pickle\n\nVALUE = pickle.loads(b"")\n',
    "BLE001": '"""Doc."""\n\ntry:\n    VALUE = 1\nexcept Exception:\n    VALUE = 2\n',
    "ANN001": '"""Doc."""\n\n\ndef double(value) -> int:\n    """Return it."""\n    return value\n',
    "G004": '"""Doc."""\n\nimport logging\n\nlogging.getLogger("x").info(f"{1}")\n',
    "C901": '"""Doc."""\n\n\ndef choose(number: int) -> int:\n    """Return it."""\n'
    + "".join(f"    if number == {n}:\n        return {n}\n" for n in range(12))
    + "    return 0\n",
}


@pytest.mark.parametrize("rule", BAD)
def test_the_linter_refuses(rule: str) -> None:
    command = [str(BIN / "ruff"), "check", "--no-cache", "--stdin-filename", "libs/model/sample.py"]
    done = subprocess.run(
        [*command, "-"], input=BAD[rule], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert rule in done.stdout


def test_the_type_checker_refuses_a_wrong_field_of_envoy(tmp_path: Path) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text(
        "from envoy.config.cluster.v3 import cluster_pb2\n\ncluster_pb2.Cluster(name=1)\n"
    )
    config = ROOT / "pyproject.toml"
    done = subprocess.run(
        [
            str(BIN / "mypy"),
            "--config-file",
            str(config),
            "--cache-dir",
            str(tmp_path),
            str(sample),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "arg-type" in done.stdout
