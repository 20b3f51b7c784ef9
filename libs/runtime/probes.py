"""Probes: what a process still waits for before it is ready.

`/ready` answers 503 with the list, so that an operator reads the reason and not only the fact.
"""

from collections.abc import Callable, Sequence

WaitingFor = Callable[[], Sequence[str]]
"""Returns what the process waits for; nothing means ready."""


class Readiness:
    """A set of named conditions, all of which must hold."""

    def __init__(self, *conditions: str) -> None:
        self._met = dict.fromkeys(conditions, False)
        self._why: dict[str, str] = {}

    def set(self, condition: str, met: bool = True) -> None:
        """Record that `condition` holds or no longer holds."""
        self._met[condition] = met

    def explain(self, condition: str, why: str) -> None:
        """Say why `condition` does not hold yet; the latest word counts."""
        self._why[condition] = why

    def __call__(self) -> Sequence[str]:
        """Return the conditions that do not hold, in the order in which they were named."""
        return [self._named(condition) for condition, met in self._met.items() if not met]

    def _named(self, condition: str) -> str:
        why = self._why.get(condition)
        return f"{condition} ({why})" if why else condition

    @property
    def ready(self) -> bool:
        """True when nothing is waited for."""
        return not self()
