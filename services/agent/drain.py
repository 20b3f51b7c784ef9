"""Drain: how a proxy leaves without dropping what is on its way.

Readiness fails first, so that nobody new is sent here. Envoy then tells its peers to go, by
`connection: close` and GOAWAY, and everybody gets time. Sidecars drain inbound listeners only:
their application may still need to call out while it shuts down.
"""

import logging
import re

from msgspec import Struct

from libs.runtime.clock import Clock
from services.agent.admin import Admin
from services.agent.http.client import HttpError
from services.agent.readiness import Readiness

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
GIVE_UP_AFTER = 5
_ACTIVE = "^listener\\..*\\.downstream_cx_active$"


class DrainRules(Struct, frozen=True):
    """How long to wait."""

    sidecar: bool = True
    seconds: float = 5.0
    until_idle: bool = False
    """Wait until nobody is connected; `minimum` at least."""
    minimum: float = 5.0
    own_ports: frozenset[int] = frozenset()
    """Ports of probes and scrapers, whose connections do not count."""


class Drain:
    """Drains once, whoever asks first: a preStop hook or the end of the process."""

    def __init__(
        self, admin: Admin, readiness: Readiness, rules: DrainRules, *, clock: Clock
    ) -> None:
        self._admin = admin
        self._readiness = readiness
        self._rules = rules
        self._clock = clock
        self._asked = False

    async def begin(self, *, stay: bool) -> None:
        """Fail readiness and tell Envoy to drain; with `stay` its listeners remain open."""
        self._readiness.leaving = True
        scope = "inboundonly&graceful" if self._rules.sidecar else "graceful"
        skip = "&skip_exit" if stay else ""
        try:
            await self._admin.post(f"/drain_listeners?{scope}{skip}")
        except HttpError as error:
            logger.warning("envoy not drained", extra={"reason": str(error)})

    async def before_stop(self) -> None:
        """Serve `/drain`: begin, so that the end of the process need not wait again."""
        await self.begin(stay=True)
        self._asked = True
        await self.wait()

    async def finish(self) -> None:
        """Drain and wait, at the end of the process."""
        if self._asked:
            return
        logger.info("draining", extra={"seconds": self._rules.seconds})
        await self.begin(stay=False)
        await self.wait()

    async def wait(self) -> None:
        """Return when everybody had time to go."""
        if not self._rules.until_idle:
            await self._clock.sleep(self._rules.seconds)
            return
        await self._clock.sleep(self._rules.minimum)
        failures = 0
        while failures < GIVE_UP_AFTER:
            try:
                if not active(await self._admin.stats(_ACTIVE), self._rules.own_ports):
                    return
            except HttpError:
                failures += 1
            await self._clock.sleep(POLL_SECONDS)


def active(stats: dict[str, int], own_ports: frozenset[int]) -> int:
    """Return how many connections listeners other than our own have."""
    total = 0
    for name, count in stats.items():
        listener = re.fullmatch(r"listener\.(.+)\.downstream_cx_active", name)
        if listener is None or ".worker_" in name or listener[1].startswith("admin"):
            continue
        port = listener[1].rpartition("_")[2]
        if not (port.isdigit() and int(port) in own_ports):
            total += count
    return total
