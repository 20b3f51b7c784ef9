"""`make faults`: every recipe of this folder at full length, all at once, and a table at the end.

Most of the time they wait: for a silence of ten minutes to end, or an outage of five. Each runs in
a process of its own, with an API server of its own. `--short` is what `make test` runs.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.faults import expiries, leaders, outages, poison, reconnects, watches, webhooks
from tests.faults.figures import LONG, SHORT, Figure, table

RECIPES = {
    "watches": watches.measure,
    "outages": outages.measure,
    "webhooks": webhooks.measure,
    "leaders": leaders.measure,
    "expiries": expiries.measure,
    "reconnects": reconnects.measure,
    "poison": poison.measure,
}


def _one(name: str, *, short: bool) -> None:
    """Run one recipe here, and print its figures as JSON lines."""

    def note(figure: Figure) -> None:
        print(msgspec.json.encode(figure).decode(), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(RECIPES[name](Path(folder), SHORT if short else LONG, note))


async def _other(name: str, *, short: bool) -> tuple[list[Figure], int]:
    """Run one recipe in a process of its own; return its figures and how it ended."""
    command = [sys.executable, "-m", "tests.faults", "--one", name, *(["--short"] * short)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    figures = []
    assert process.stdout is not None
    async for line in process.stdout:
        figures.append(msgspec.json.decode(line, type=Figure))
        print(f"{figures[-1].recipe}: {figures[-1].fault}: {figures[-1].value}", flush=True)
    return figures, await process.wait()


async def _all(names: list[str], *, short: bool) -> int:
    found = await asyncio.gather(*(_other(name, short=short) for name in names))
    figures = [figure for each, _ in found for figure in each]
    print(f"\n{table(figures)}")
    failed = [name for name, (_, code) in zip(names, found, strict=True) if code]
    if failed:
        print(f"ended early: {', '.join(failed)}")
    return len(failed) + sum(not figure.holds for figure in figures)


def main() -> int:
    """Return how many figures do not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", choices=[*RECIPES, []])
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--one", choices=[*RECIPES])
    wanted = parser.parse_args()
    if wanted.one:
        _one(wanted.one, short=wanted.short)
        return 0
    return asyncio.run(_all(wanted.recipes or [*RECIPES], short=wanted.short))


if __name__ == "__main__":
    sys.exit(main())
