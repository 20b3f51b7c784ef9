"""Rewrite the expected outputs, and remove those that nothing produces: `make golden`."""

import sys

from tests.golden.cases import ROOT, every


def rewrite() -> None:
    """Write every out.yaml anew."""
    cases = every()
    for case in cases:
        text = case.output()
        before = case.expected.read_text() if case.expected.exists() else None
        if text != before:
            case.expected.write_text(text)
            sys.stdout.write(f"{'changed' if before else 'new'}  {case.name}\n")
    produced = {case.expected for case in cases}
    for found in sorted(set(ROOT.glob("*/*.yaml")) - produced):
        if found.name != "in.yaml":
            found.unlink()
            sys.stdout.write(f"removed  {found.parent.name}/{found.name}\n")


if __name__ == "__main__":
    rewrite()
