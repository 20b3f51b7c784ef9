"""Status: the paths of the agent's own port (15020).

Kubelet's probes reach `/healthz/ready` through Envoy's port 15021, so that they also prove that
Envoy passes traffic; scrapers and hooks come directly. Who scrapes Envoy's port 15090 gets
`PROXY_PAGE` by way of Envoy.
"""

import logging
from collections.abc import Awaitable, Callable

from services.agent.http.server import Answer, Asked, text
from services.agent.probes import Prober
from services.agent.readiness import Readiness
from services.agent.scrape import CONTENT_TYPE, PROXY_PAGE, Scraper

logger = logging.getLogger(__name__)


class Status:
    """Routes requests; `route` is what the server calls."""

    def __init__(  # noqa: PLR0913 - all that it shows and moves
        self,
        *,
        readiness: Readiness,
        scraper: Scraper,
        prober: Prober,
        drain: Callable[[], Awaitable[None]],
        quit_now: Callable[[], None],
        became_ready: Callable[[], None] = lambda: None,
        names: Callable[[], bytes] | None = None,
    ) -> None:
        self._readiness = readiness
        self._scraper = scraper
        self._prober = prober
        self._drain = drain
        self._quit = quit_now
        self._became_ready = became_ready
        self._names = names
        self._said = "not asked yet"
        self._routes: dict[str, Callable[[Asked], Awaitable[Answer]]] = {
            "/healthz/ready": self._ready,
            "/metrics": self._metrics,
            "/stats/prometheus": self._metrics,
            PROXY_PAGE: self._proxy_metrics,
            "/quitquitquit": self._quitquitquit,
            "/drain": self._drained,
            "/debug/ndsz": self._ndsz,
        }

    async def route(self, asked: Asked) -> Answer:
        """Answer one request."""
        if asked.path.startswith(("/app-health/", "/app-lifecycle/")):
            return await self._prober.answer(asked)
        handler = self._routes.get(asked.path)
        return await handler(asked) if handler else text(404, "no such page")

    async def _ready(self, _: Asked) -> Answer:
        waiting = await self._readiness.waiting_for()
        if waiting != self._said:
            self._said = waiting
            logger.info("readiness changed", extra={"ready": not waiting, "waiting_for": waiting})
            if not waiting:
                self._became_ready()
        return text(503, waiting) if waiting else text(200, "ready")

    async def _metrics(self, _: Asked) -> Answer:
        return Answer(200, self._scraper.page(), CONTENT_TYPE)

    async def _proxy_metrics(self, _: Asked) -> Answer:
        return Answer(200, self._scraper.proxy_page(), CONTENT_TYPE)

    async def _ndsz(self, asked: Asked) -> Answer:
        if not asked.local:
            return text(403, "only from inside the pod")
        if self._names is None:
            return text(404, "dns queries are not captured")
        return Answer(200, self._names(), "application/json")

    async def _quitquitquit(self, asked: Asked) -> Answer:
        if refusal := _not_a_local_post(asked):
            return refusal
        self._quit()
        return text(200, "ok")

    async def _drained(self, asked: Asked) -> Answer:
        if refusal := _not_a_local_post(asked):
            return refusal
        await self._drain()
        return text(200, "drained")


def _not_a_local_post(asked: Asked) -> Answer | None:
    if not asked.local:
        return text(403, "only from inside the pod")
    return None if asked.method == "POST" else text(405, "POST it")
