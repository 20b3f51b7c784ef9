"""No registry's host is named in the repository: who installs it says what is pulled from where."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOSTS = re.compile(
    r"\b(?:docker|ghcr|gcr|quay|k8s\.gcr|registry\.k8s)\.io\b|\b(?:pkg|lscr)\.dev\b"
    r"|\bpypi\.org\b|\bfiles\.pythonhosted\.org\b|\bregistry\.(?:npmjs|yarnpkg)\.(?:org|com)\b"
    r"|\b(?:mcr\.microsoft|public\.ecr\.aws)\b"
)


def named(text: str) -> list[str]:
    return HOSTS.findall(text)


def test_no_file_names_a_registry() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("this is no checkout of git")
    found = {}
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if name and path.is_file() and (hosts := named(path.read_text(errors="replace"))):
            found[name] = hosts
    assert not found


@pytest.mark.parametrize("host", ["index.{}.io", "https://{}.io/v1/", "{}.io/library/a"])
def test_a_registry_would_be_found(host: str) -> None:
    assert named(f'X = "{host.format("docker")}"')
