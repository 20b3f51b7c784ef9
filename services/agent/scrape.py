r"""Scrape: one page with the metrics of agent, Envoy and application, and one with Envoy's alone.

Envoy puts `envoy_` before everything, also before the standard metrics, which users know as
`istio_…`: it is taken off. What the agent counts in Envoy's place (`counting`) belongs to Envoy's
part, so the second page, which scrapers ask for at Envoy's own port, comes from here too. Envoy's
page may be megabytes and is passed on as it comes. An application that does not answer costs its
own part of the page and no more.
"""

import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import msgspec
from msgspec import Struct

from services.agent import metrics
from services.agent.admin import Admin
from services.agent.http.client import HttpError, Request, Response, fetch

logger = logging.getLogger(__name__)

PROXY_PAGE = "/stats/proxy"
"""Envoy's metrics, without those of agent and application."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = re.compile(rb"^(# (?:TYPE|HELP) )?envoy_(istio_)", re.MULTILINE)
_END = re.compile(rb"^# EOF\n?", re.MULTILINE)
_ACCEPT = (("Accept", "text/plain;version=0.0.4;q=1"),)


class Target(Struct, frozen=True):
    """Where the application's metrics are."""

    port: int
    path: str = "/metrics"


class ScrapeError(ValueError):
    """ISTIO_PROMETHEUS_ANNOTATIONS cannot be used; the message says why."""


class _Annotations(Struct, frozen=True):
    scrape: str = ""
    port: str = ""
    path: str = ""


def target(annotations: str, *, refused: frozenset[int]) -> Target | None:
    """Return what ISTIO_PROMETHEUS_ANNOTATIONS asks to merge in, if anything.

    Args:
        annotations: JSON with `scrape`, `port` and `path`.
        refused: ports of our own, which would be scraped in a circle.

    Raises:
        ScrapeError: no JSON, no port, or a refused one.

    """
    if not annotations:
        return None
    try:
        asked = msgspec.json.decode(annotations, type=_Annotations)
        port = int(asked.port or "80")
    except (msgspec.MsgspecError, ValueError) as error:
        message = f"ISTIO_PROMETHEUS_ANNOTATIONS: {error}"
        raise ScrapeError(message) from error
    if asked.scrape != "true":
        return None
    if port in refused or not 0 < port < 65536:
        message = f"ISTIO_PROMETHEUS_ANNOTATIONS: port {port} cannot be scraped"
        raise ScrapeError(message)
    return Target(port, "/" + (asked.path or "/metrics").lstrip("/"))


class Scraper:
    """Makes the page."""

    def __init__(
        self,
        admin: Admin,
        application: Target | None,
        address: str,
        *,
        counted: Callable[[], bytes] = bytes,
    ) -> None:
        """`counted` are the standard metrics that the agent counts itself."""
        self._admin = admin
        self._application = application
        self._address = address
        self._counted = counted

    async def page(self) -> AsyncIterator[bytes]:
        """Yield the page piece by piece."""
        metrics.SCRAPES.inc()
        yield metrics.render()
        async for piece in self.proxy_page():
            yield piece
        if self._application is not None:
            wanted = Request(
                host=self._address,
                port=self._application.port,
                target=self._application.path,
                headers=_ACCEPT,
            )
            async for piece in self._part("application", fetch(wanted)):
                yield _END.sub(b"", piece)

    async def proxy_page(self) -> AsyncIterator[bytes]:
        """Yield what Envoy counts, and what is counted for it, piece by piece."""
        yield self._counted()
        async for piece in self._part("envoy", self._admin.prometheus()):
            yield _PREFIX.sub(rb"\1\2", piece)

    async def _part(
        self, kind: str, opened: AbstractAsyncContextManager[Response]
    ) -> AsyncIterator[bytes]:
        """Yield whole lines of one part; stop where it breaks off."""
        try:
            async with opened as response:
                response.require_success()
                rest = b""
                async for chunk in response.chunks():
                    lines, newline, rest = (rest + chunk).rpartition(b"\n")
                    yield lines + newline
                yield rest + b"\n" if rest else b""
        except HttpError as error:
            metrics.SCRAPE_FAILURES.labels(kind).inc()
            logger.warning("part of a scrape failed", extra={"part": kind, "reason": str(error)})
