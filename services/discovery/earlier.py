"""Earlier: the mesh of an earlier life, served while the API server does not answer at the start.

It comes from the shared cache, sealed. Proxies that start or reconnect meanwhile get what was right
when it was kept, which a Problem and a metric say. When the API server answers, the difference to
what there is then is published like any change: what has gone meanwhile goes. Keys of Secrets are
in no cache; proxies keep those they have.
"""

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from msgspec.structs import replace

from libs.api import reasons
from libs.api.problem import Problem, Severity
from libs.cache.cache import Cache
from libs.cache.warm import Kept, WarmMesh
from libs.model.delta import Delta
from libs.model.ids import Ref
from libs.model.mesh import Key, Mesh, Table
from libs.runtime.clock import Clock
from libs.translate.apply import Step
from services.discovery import metrics

logger = logging.getLogger(__name__)

ATTEMPTS = 10
RETRY_SECONDS = 2.0

Serve = Callable[[Mesh, Problem], None]


class EarlierLife:
    """Keeps meshes for a later life, and serves that of an earlier one until `settle`."""

    def __init__(self, cache: Cache, clock: Clock) -> None:
        self._cache = cache
        self._warm = WarmMesh(cache, clock=clock, owner="discovery")
        self._clock = clock
        self._served: Kept | None = None
        self._settled = False
        metrics.MESH_STALE.set_function(self._age)

    async def run(self) -> None:
        """Keep meshes until cancelled; then let go of the cache."""
        try:
            await self._warm.run()
        finally:
            await self._cache.close()

    async def fall_back(self, away: Callable[[], Coroutine[Any, Any, None]], serve: Serve) -> None:
        """Serve what there was before, once the source turns out to be away."""
        await away()
        kept = await self._earlier()
        if kept is None or self._settled:
            return
        self._served = kept
        age = round(self._clock.now() - kept.saved)
        logger.warning("serving the mesh of an earlier life", extra={"age_seconds": age})
        text = f"the API server does not answer; what is served was known {age} s before the start"
        serve(kept.mesh, Problem(Ref(""), "", reasons.EARLIER_LIFE, text, Severity.WARNING))

    async def _earlier(self) -> Kept | None:
        """Return what was kept. The cache may be slow to answer when all start at once."""
        for _ in range(ATTEMPTS):
            kept = None if self._settled else await self._warm.load_kept()
            if kept is not None or self._settled:
                return kept
            await self._clock.sleep(RETRY_SECONDS)
        return None

    def settle(self, step: Step) -> Step:
        """Return `step` as a change of what is served, and keep its mesh."""
        self._settled = True
        mesh = step.state.mesh
        if step.delta:
            self._warm.keep(mesh)
        served, self._served = self._served, None
        if served is None:
            return step
        return step._replace(delta=difference(served.mesh, mesh, step.delta))

    def _age(self) -> float:
        return 0.0 if self._served is None else self._clock.now() - self._served.saved


def difference(before: Mesh, after: Mesh, last: Delta) -> Delta:
    """Return which rows differ; number, causes and time are those of the `last` change."""
    changed: set[Key] = set()
    removed: set[Key] = set()
    for table in Table:
        old, new = before.rows(table), after.rows(table)
        changed.update(Key(table, key) for key, row in new.items() if old.get(key) != row)
        removed.update(Key(table, key) for key in old.keys() - new.keys())
    return replace(last, changed=frozenset(changed), removed=frozenset(removed))
