"""What a follower tells its sink, kept, and compared with what the API server has."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from libs.kube.client import Client
from libs.kube.collection import Collection
from libs.kube.follow import Change, Follower, Happening, Patience
from libs.kube.list import Name
from libs.runtime.backoff import Backoff
from libs.runtime.tasks import background

QUICK = Patience(
    session=300,
    silence=330.0,
    count=3600.0,
    refresh=3600.0,
    absent=0.4,
    given_up=0.4,
    page=50,
    backoff=Backoff(first=0.05, limit=0.4),
)
"""So that a test need not wait, and nothing happens by itself that it does not ask for."""

MAPS = Collection(name="configmaps", paths=("/api/v1/namespaces/default/configmaps",))


class Seen:
    """The sink: all objects as the follower tells of them."""

    def __init__(self) -> None:
        self.objects: dict[Name, Any] = {}
        self.happened: Counter[Happening] = Counter()
        self._changed = asyncio.Event()

    async def take(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.raw is None:
                assert change.name in self.objects, f"{change.name} goes, but was never there"
                del self.objects[change.name]
            else:
                self.objects[change.name] = msgspec.json.decode(change.raw)
        self._changed.set()

    def observe(self, happening: Happening) -> None:
        self.happened[happening] += 1
        self._changed.set()

    @property
    def data(self) -> dict[str, Any]:
        """What ConfigMaps hold, by name."""
        return {name.name: one.get("data") for name, one in self.objects.items()}

    async def until(self, holds: Callable[[], bool], seconds: float = 20) -> None:
        """Return once `holds`."""
        async with asyncio.timeout(seconds):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def following(
    client: Client,
    collection: Collection = MAPS,
    patience: Patience = QUICK,
    *,
    seconds: float = 60,
) -> AsyncIterator[tuple[Seen, Follower]]:
    """Follow a collection while the block runs, which starts when all is synced.

    All of it takes `seconds` at most.
    """
    seen = Seen()
    follower = Follower(client, collection, seen.take, observe=seen.observe, patience=patience)
    async with background(follower.run()), asyncio.timeout(seconds):
        await follower.synced.wait()
        yield seen, follower
