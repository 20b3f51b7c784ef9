"""Checker: makes a probe again and again, and says when the workload's state has changed.

As many good answers in a row as `successThreshold` make it well, as many bad ones as
`failureThreshold` make it unwell; before that nothing is known of it. Istio's agent says nothing of
a workload that was never well; here its state and the reason are told, too.
"""

import logging
from collections.abc import Awaitable, Callable

from msgspec import Struct

from libs.runtime.clock import Clock
from services.agent.health.probe import ReadinessProbe

logger = logging.getLogger(__name__)


class Verdict(Struct, frozen=True):
    """What is known of the workload."""

    healthy: bool
    reason: str = ""


class Tally:
    """Counts answers; pure."""

    def __init__(self, probe: ReadinessProbe) -> None:
        self._needed = {True: probe.success_threshold or 1, False: probe.failure_threshold or 1}
        self._last: bool | None = None
        self._row = 0
        self.verdict: Verdict | None = None

    def count(self, reason: str) -> bool:
        """Take an answer, empty if it is good; tell whether the state has changed by it."""
        healthy = not reason
        self._row = self._row + 1 if self._last is healthy else 1
        self._last = healthy
        known = self.verdict
        if self._row < self._needed[healthy] or (known and known.healthy is healthy):
            return False
        self.verdict = Verdict(healthy, reason)
        return True


class Checker:
    """Probes; `run` never ends."""

    def __init__(
        self, probe: ReadinessProbe, ask: Callable[[], Awaitable[str]], clock: Clock
    ) -> None:
        """Take `ask`: it returns why the workload is not well, empty if it is."""
        self._probe = probe
        self._ask = ask
        self._clock = clock

    async def run(self, changed: Callable[[Verdict], None]) -> None:
        """Probe until cancelled."""
        tally = Tally(self._probe)
        await self._clock.sleep(self._probe.initial_delay_seconds)
        while True:
            if tally.count(await self._ask()) and tally.verdict is not None:
                verdict = tally.verdict
                extra = {"healthy": verdict.healthy, "reason": verdict.reason}
                logger.info("health of the workload changed", extra=extra)
                changed(verdict)
            await self._clock.sleep(self._probe.period)
