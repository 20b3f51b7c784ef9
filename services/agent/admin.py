"""Admin: what the agent asks of its Envoy, on Envoy's admin port."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from msgspec import Struct

from services.agent.http.client import Request, Response, fetch

_MAX_STATS = 1024 * 1024


class Admin(Struct, frozen=True):
    """The admin port of one Envoy."""

    host: str
    port: int

    async def stats(self, pattern: str) -> dict[str, int]:
        """Return the counters and gauges whose name matches `pattern`.

        Raises:
            HttpError: Envoy does not answer.

        """
        async with self._fetch(f"/stats?filter={pattern}") as response:
            response.require_success()
            body = await response.text(_MAX_STATS)
        pairs = (line.rpartition(": ") for line in body.splitlines())
        return {name: int(value) for name, _, value in pairs if name and value.isdigit()}

    async def post(self, target: str) -> None:
        """Tell Envoy to do something.

        Raises:
            HttpError: it does not answer, or refuses.

        """
        async with self._fetch(target, method="POST") as response:
            response.require_success()

    @asynccontextmanager
    async def prometheus(self) -> AsyncIterator[Response]:
        """Yield all statistics in Prometheus' text format.

        Raises:
            HttpError: Envoy does not answer.

        """
        async with self._fetch("/stats/prometheus") as response:
            yield response

    def _fetch(self, target: str, *, method: str = "GET") -> AbstractAsyncContextManager[Response]:
        return fetch(Request(host=self.host, port=self.port, target=target, method=method))
