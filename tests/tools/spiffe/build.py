"""Builds `judge`, SPIFFE's own library behind a pipe, for tests that compare our reading with it.

`make tools` runs this (half a minute, once); without it these tests are skipped and say so. The
binary lies beside etcd's, in a folder named after the source, so that new source never meets an
old binary.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.tools.kubernetes import build as kubernetes

HERE = Path(__file__).parent
SOURCES = ("go.mod", "go.sum", "main.go")


def find() -> Path | None:
    """Return the binary of the source as it is now; None if it has not been built."""
    return _target() if os.access(_target(), os.X_OK) else None


def _target() -> Path:
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in SOURCES))
    return kubernetes.cache() / f"spiffe-{digest.hexdigest()[:16]}" / "judge"


def main() -> int:
    """Build it if it is missing; return the exit status."""
    if find():
        return 0
    if not shutil.which("go"):
        sys.stderr.write("the judge of identities is missing, and so is Go to build it\n")
        return 1
    target = _target()
    target.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"building {target}\n")
    sys.stdout.flush()
    fresh = target.with_suffix(".new")
    settings = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}  # noqa: TID251
    subprocess.run(
        ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", fresh, "."],
        cwd=HERE,
        env=settings,
        check=True,
    )
    fresh.rename(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
