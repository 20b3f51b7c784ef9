"""Proof: whether everybody trusts a root, so that it may sign.

Two proofs count, and either is enough.

- By age: every certificate comes with the bundle of its moment. When all that were issued before
  the root was in the bundle have expired, whoever has a valid certificate has the root. This needs
  nobody's word, and holds for agents that are not ours and for those who are away.
- By report: every proxy that is connected says that its Envoy holds the root, whenever asked for a
  while, so that those who are just connecting anew are heard; see `services.ca.reports`. That is
  quicker, for whoever wants to rotate now.

A root is published to all namespaces before either proof can hold.
"""

from collections.abc import Awaitable, Callable

from libs.runtime.clock import Clock

Reported = Callable[[str, float], Awaitable[bool]]
"""Tells whether all who are connected report the root with this identifier; whoever got a
certificate after the given moment (seconds since the epoch) has it, too."""


async def unreported(root: str, since: float) -> bool:
    """Know of no report."""
    del root, since
    return False


class Proof:
    """Tells whether a root may sign."""

    def __init__(
        self, reported: Reported = unreported, *, clock: Clock, settle: float = 120.0
    ) -> None:
        """Take `settle`: seconds until all replicas give a new bundle away, or do not sign."""
        self._ask = reported
        self._clock = clock
        self._settle = settle
        self._reported: dict[str, tuple[float, float]] = {}  # root → since when, last asked

    async def holds(self, root: str, *, since: float, longest: float) -> bool:
        """Tell whether everybody trusts `root`.

        Args:
            root: its identifier.
            since: when it came into the bundle, in seconds since the epoch.
            longest: the longest life of a certificate, in seconds.

        """
        now = self._clock.now()
        if now >= since + self._settle + longest:
            return True
        # Replicas that are slow still give the old bundle away, to proxies that connect later.
        settled = since + self._settle
        return now >= settled and await self._reported_for_long(root, settled)

    async def _reported_for_long(self, root: str, since: float) -> bool:
        if not await self._ask(root, since):
            self._reported.pop(root, None)
            return False
        now = self._clock.monotonic()
        first, last = self._reported.get(root, (now, now))
        if now - last > self._settle:  # nobody has asked meanwhile: another replica led
            first = now
        self._reported[root] = (first, now)
        return now - first >= self._settle
