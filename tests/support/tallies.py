"""An agent's counting beside an Envoy of a test: what the agent serves, and its page read back."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from libs.runtime.clock import SystemClock
from services.agent.counting.tally import Tally
from services.agent.streams import server
from tests.support.envoy import Envoy, Series

_SECONDS = 60


@asynccontextmanager
async def counting(envoy: Envoy) -> AsyncIterator[Tally]:
    """Count for `envoy` until the block ends."""
    tally = Tally(SystemClock())
    async with server.serve(envoy.folder / "tally", tally.handlers):
        yield tally


def series(tally: Tally, name: str, **wanted: str) -> list[Series]:
    """Return the series of a metric that carry all of `wanted`."""
    found: list[Series] = []
    for line in tally.page().decode().splitlines():
        metric, _, rest = line.partition("{")
        tags, _, value = rest.rpartition("} ")
        labels: Mapping[str, str] = dict(re.findall(r'(\w+)="([^"]*)"', tags))
        if metric == name and wanted.items() <= labels.items():
            found.append((labels, float(value)))
    return found


def total(tally: Tally, name: str, **wanted: str) -> float:
    """Return the sum of such series."""
    return sum(value for _, value in series(tally, name, **wanted))


async def reached(tally: Tally, name: str, amount: float, **wanted: str) -> list[Series]:
    """Return such series once they come to `amount` or more; reports come each second at most."""
    async with asyncio.timeout(_SECONDS):
        while total(tally, name, **wanted) < amount:  # noqa: ASYNC110 - a page cannot be awaited
            await asyncio.sleep(0.02)
    return series(tally, name, **wanted)
