"""Commands that need a cluster ask the one that `--kubeconfig` and `--context` name."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from services.ctl.app import app

COMMANDS = [
    "tag set prod --revision canary",
    "tag generate prod --revision canary",
    "tag list",
    "tag remove prod",
    "check-inject web.shop",
    "workload entry configure --name vm --namespace shop -o {}",
]


@pytest.fixture(name="kubeconfig")
def kubeconfig_of_two_clusters(tmp_path: Path) -> str:
    """At neither of which anybody answers: so each command says whom it has asked."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": f"http://127.0.0.1:{port}"}}
            for name, port in (("usual", 1), ("other", 2))
        ],
        "users": [{"name": "me", "user": {"token": "t"}}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": "me"}}
            for name in ("usual", "other")
        ],
        "current-context": "usual",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_asks_the_cluster_that_is_meant(
    command: str, kubeconfig: str, tmp_path: Path
) -> None:
    words = command.format(tmp_path / "files").split()
    for option in ("-c", "--kubeconfig"):
        done = CliRunner().invoke(app, [*words, option, kubeconfig])
        assert "127.0.0.1:1" in done.stderr.replace("\n", "")
    other = CliRunner().invoke(app, [*words, "--kubeconfig", kubeconfig, "--context", "other"])
    assert "127.0.0.1:2" in other.stderr.replace("\n", "")
    missing = CliRunner().invoke(app, [*words, "--kubeconfig", kubeconfig, "--context", "none"])
    assert "none" in missing.stderr
    assert missing.exit_code == other.exit_code == 2
