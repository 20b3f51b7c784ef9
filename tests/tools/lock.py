"""Hashed requirements: one file for each image, and one for everything (development).

`uv` resolves the extras of pyproject.toml for the oldest Python we support, for every platform.
No address of a registry is ever written.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "requirements"
SAMPLES = ("bookshop",)
"""Groups of programs with an image that are no services."""


def _compile(output: Path, *arguments: str) -> None:
    command = [
        *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal"),
        *("--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header"),
        *("--no-emit-index-url", "--no-emit-find-links", "--output-file", str(output)),
        *arguments,
    ]
    subprocess.run(command, check=True, cwd=ROOT)


def main() -> None:
    """Compile everything first; each service then takes the same versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    TARGET.mkdir(exist_ok=True)
    everything = TARGET / "dev.txt"
    _compile(everything, "pyproject.toml", "--all-extras", "--group", "dev")
    for extra in project["project"]["optional-dependencies"]:
        _compile(TARGET / f"{extra}.txt", "pyproject.toml", "--extra", extra, "-c", str(everything))
    for group in SAMPLES:
        _compile(TARGET / f"{group}.txt", "--group", group, "-c", str(everything))


if __name__ == "__main__":
    main()
