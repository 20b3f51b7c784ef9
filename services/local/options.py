"""Options: what the command line of local mode may say."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from libs.runtime.localmesh import RUN_DIRECTORY
from services.local.mode import Mode
from services.local.programs import ROOT

SAMPLE = ROOT / "examples" / "bookshop" / "manifests"
ONCE_SECONDS = 120.0


class Options(Struct, frozen=True, kw_only=True):
    """What to run, and how."""

    manifests: Path = SAMPLE
    mode: Mode | None = None  # None: the better one that works
    once: bool = False
    once_seconds: float = ONCE_SECONDS
    run_directory: Path = RUN_DIRECTORY
    redis: bool = True


def parse(arguments: Sequence[str]) -> Options:
    """Return the options, or exit with the usual message of a command line."""
    parser = argparse.ArgumentParser(
        "python -m services.local",
        description="Run a whole mesh on this machine: control plane, workloads, proxies.",
    )
    parser.add_argument(
        "--manifests", type=Path, default=SAMPLE, help="folder of manifests (default: the bookshop)"
    )
    parser.add_argument(
        "--mode",
        type=Mode,
        choices=list(Mode),
        help="force network namespaces or loopback addresses (default: what this process may do)",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="end when every row of the table is right (status 0), or after a while (status 1)",
    )
    parser.add_argument("--once-seconds", type=float, default=ONCE_SECONDS, help="how long a while")
    parser.add_argument("--run-directory", type=Path, default=RUN_DIRECTORY)
    parser.add_argument("--no-redis", action="store_true", help="run without Redis")
    given = parser.parse_args(arguments)
    if not given.manifests.is_dir():
        parser.error(f"{given.manifests} is not a folder")
    return Options(
        manifests=given.manifests.resolve(),
        mode=given.mode,
        once=given.once,
        once_seconds=given.once_seconds,
        run_directory=given.run_directory.resolve(),
        redis=not given.no_redis,
    )
