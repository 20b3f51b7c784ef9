"""Figures: what a recipe measured, and whether what it promises held."""

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct

from libs.runtime.clock import SystemClock

CLOCK = SystemClock()


class Figure(Struct, frozen=True):
    """One row of the table that `make faults` prints."""

    recipe: str
    fault: str
    value: str
    holds: bool = True
    """Whether nothing was lost; never whether it was quick."""


class Length(Struct, frozen=True, kw_only=True):
    """How long faults last, in seconds."""

    silent: float
    """Of a watch, or a network."""
    outage: float
    """Of the API server, or of etcd."""
    rotating: float
    """Of a webhook under load."""
    stopped: float
    """Of a leader."""
    quick: bool
    """Whether what follows has small times of its own, too."""


LONG = Length(silent=600, outage=300, rotating=600, stopped=60, quick=False)
SHORT = Length(silent=8, outage=8, rotating=20, stopped=25, quick=True)

Note = Callable[[Figure], None]


async def seconds_until(holds: Callable[[], Awaitable[bool]], patience: float = 120) -> float:
    """Return after how many seconds it holds; who is asked could not tell."""
    started = CLOCK.monotonic()
    async with asyncio.timeout(patience):
        while not await holds():
            await CLOCK.sleep(0.05)
    return CLOCK.monotonic() - started


def table(figures: list[Figure]) -> str:
    """Return the figures as a table in Markdown."""
    rows = [
        f"| {it.recipe} | {it.fault} | {it.value}{'' if it.holds else ' **DOES NOT HOLD**'} |"
        for it in figures
    ]
    return "\n".join(["| recipe | fault | figure |", "|---|---|---|", *rows])
