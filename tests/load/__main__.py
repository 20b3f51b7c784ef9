"""`make bench`: every benchmark of this folder, each in a process of its own. Prints only."""

import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Run the benchmarks named on the command line, or all; return how many could not run."""
    here = Path(__file__).parent
    wanted = sys.argv[1:] or sorted(path.stem for path in here.glob("bench_*.py"))
    failed = 0
    for name in wanted:
        print(f"\n== {name} ==", flush=True)
        command = [sys.executable, "-m", f"tests.load.{name}"]
        failed += subprocess.run(command, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
