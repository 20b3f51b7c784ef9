"""Rewrite the expected outputs, and remove those that nothing produces: `make golden`."""

import sys
from pathlib import Path

from tests.golden import cases as envoys
from tests.golden import moved
from tests.golden import pod_cases as pods


def rewrite() -> None:
    """Write every out.yaml anew."""
    cases = [*envoys.every(), *pods.every()]
    for case in cases:
        _write(case.expected, case.output(), case.name)
    _write(moved.FILE, moved.text(), moved.FILE.name)
    produced = {case.expected for case in cases}
    written = {*envoys.ROOT.glob("*/*.yaml"), *pods.ROOT.glob("*/*.yaml")}
    for found in sorted(written - produced):
        if found.name != "in.yaml":
            found.unlink()
            sys.stdout.write(f"removed  {found.parent.name}/{found.name}\n")


def _write(file: Path, text: str, name: str) -> None:
    before = file.read_text() if file.exists() else None
    if text != before:
        file.write_text(text)
        sys.stdout.write(f"{'changed' if before else 'new'}  {name}\n")


if __name__ == "__main__":
    rewrite()
