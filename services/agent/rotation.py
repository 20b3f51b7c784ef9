"""Rotation: keeps the workload's certificate fresh, as long as the process lives.

A certificate is renewed when SECRET_GRACE_PERIOD_RATIO of its life is left, moved by a jitter so
that pods that started together do not come back together. An attempt that fails is repeated with
backoff while the old certificate still serves. How a certificate is had is a function passed in.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable

from msgspec import Struct

from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock, SystemClock
from libs.runtime.tasks import background
from services.agent import metrics
from services.agent.issued import Issued, IssueError

logger = logging.getLogger(__name__)

LONGEST_BACKOFF = 8.0
"""Once the CA is back, a pod without a valid certificate serves within that time."""

RENEW_SOON_SECONDS = 20.0
"""Over which pods spread when all of them learn of a new root at once."""

LONGEST_SLEEP = 300.0
"""Wall time may jump: a sleep is cut into pieces after which it is looked at again."""


class Schedule(Struct, frozen=True):
    """When to renew."""

    grace_ratio: float = 0.5
    grace_jitter: float = 0.01

    def due(self, issued: Issued, *, now: float, chance: float) -> float:
        """Return the moment of renewal, as seconds since the epoch.

        Life is counted from `now`, when it was obtained: certificates begin before they are issued,
        for clocks that are behind, and for short ones that beginning is most of their validity.

        Args:
            issued: the certificate.
            now: seconds since the epoch.
            chance: in [0, 1), for the jitter.

        """
        left = self.grace_ratio + self.grace_jitter * (2 * chance - 1)
        return now + (issued.not_after - now) * min(max(1 - left, 0.0), 1.0)


class Rotation:
    """Obtains and renews; `run` does it until cancelled."""

    def __init__(
        self,
        obtain: Callable[[], Awaitable[Issued]],
        use: Callable[[Issued], None],
        *,
        schedule: Schedule | None = None,
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        chance: Callable[[], float] = chance,
    ) -> None:
        self._obtain = obtain
        self._use = use
        self._schedule = schedule or Schedule()
        self._clock = clock or SystemClock()
        self._backoff = backoff or Backoff(first=0.5, limit=LONGEST_BACKOFF)
        self._chance = chance
        self._not_after = 0.0
        self._obtained = 0.0
        self._wake = asyncio.Event()
        metrics.CERT_EXPIRY.labels("default").set_function(self.remaining)
        metrics.CERT_LIFE_LEFT.set_function(self.life_left)

    def remaining(self) -> float:
        """Return seconds until the current certificate expires; 0 if there never was one."""
        return self._not_after - self._clock.now() if self._not_after else 0.0

    def life_left(self) -> float:
        """Return which share of the certificate's life, since it was obtained, is left."""
        if not self._not_after:
            return math.nan
        return self.remaining() / max(self._not_after - self._obtained, 1.0)

    def renew_soon(self) -> None:
        """Renew before it is due, spread over RENEW_SOON_SECONDS: what is trusted has changed."""
        self._wake.set()

    async def run(self) -> None:
        """Obtain and renew until cancelled."""
        attempt = 0
        while True:
            issued = await self._attempt(attempt)
            if issued is None:
                delay = self._backoff.delay(attempt, self._chance())
                attempt += 1
                await self._clock.sleep(delay)
                continue
            attempt = 0
            now = self._clock.now()
            self._not_after, self._obtained = issued.not_after, now
            self._use(issued)
            await self._until(self._schedule.due(issued, now=now, chance=self._chance()))

    async def _attempt(self, attempt: int) -> Issued | None:
        try:
            issued = await self._obtain()
        except IssueError as error:
            metrics.CA_REQUESTS.inc(error.attempts)
            metrics.CA_RETRIES.inc(error.attempts - 1)
            metrics.CA_FAILURES.inc()
            logger.warning(
                "no certificate from the ca",
                extra={
                    "reason": str(error),
                    "attempt": attempt,
                    "expires_in_seconds": round(self.remaining()),
                },
            )
            return None
        metrics.CA_REQUESTS.inc(issued.attempts)
        metrics.CA_RETRIES.inc(issued.attempts - 1)
        logger.info(
            "certificate obtained",
            extra={"identity": issued.identity, "not_after": round(issued.not_after)},
        )
        return issued

    async def _until(self, moment: float) -> None:
        """Sleep until wall time reaches `moment`, at least a second: a CA's clock may be ahead."""
        wait = max(moment - self._clock.now(), 1.0)
        while wait > 0 and not self._wake.is_set():
            await self._sleep(min(wait, LONGEST_SLEEP))
            wait = moment - self._clock.now()
        if self._wake.is_set():
            self._wake.clear()
            spread = RENEW_SOON_SECONDS * self._chance()
            await self._clock.sleep(min(spread, max(moment - self._clock.now(), 1.0)))

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or until there is a reason to renew."""
        async with background() as group:
            tasks = [
                group.create_task(self._clock.sleep(seconds)),
                group.create_task(self._wake.wait()),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
