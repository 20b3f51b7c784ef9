"""Rewrite the expected outputs, and remove those that nothing produces: `make golden`."""

import sys

from tests.golden import cases as envoys
from tests.golden import pod_cases as pods


def rewrite() -> None:
    """Write every out.yaml anew."""
    cases = [*envoys.every(), *pods.every()]
    for case in cases:
        text = case.output()
        before = case.expected.read_text() if case.expected.exists() else None
        if text != before:
            case.expected.write_text(text)
            sys.stdout.write(f"{'changed' if before else 'new'}  {case.name}\n")
    produced = {case.expected for case in cases}
    written = {*envoys.ROOT.glob("*/*.yaml"), *pods.ROOT.glob("*/*.yaml")}
    for found in sorted(written - produced):
        if found.name != "in.yaml":
            found.unlink()
            sys.stdout.write(f"removed  {found.parent.name}/{found.name}\n")


if __name__ == "__main__":
    rewrite()
