"""Counters: sums by metric and labels, and the text in which Prometheus reads them.

At most MAX_SERIES are kept; beyond that the one that has not moved for longest is forgotten and
counted, so that peers which are gone, or values that a stranger varies, do not fill the agent. If
such a series moves again it begins at zero, which Prometheus takes for a restart.
"""

import re
from collections.abc import Iterator

from services.agent import metrics
from services.agent.counting.entries import Labels

MAX_SERIES = 10_000

_PREFIX = "istio_"
_FOREIGN = re.compile(r"[^a-zA-Z0-9_]")
_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Counters:
    """All series; those that moved last come last."""

    def __init__(self, limit: int = MAX_SERIES) -> None:
        self._limit = limit
        self._sums: dict[tuple[str, Labels], int] = {}

    def add(self, name: str, labels: Labels, amount: int) -> None:
        """Add to a series, which comes to be if there is none."""
        key = (name, labels)
        before = self._sums.pop(key, None)
        if before is None and len(self._sums) >= self._limit:
            del self._sums[next(iter(self._sums))]
            metrics.TCP_SERIES_FORGOTTEN.inc()
        self._sums[key] = (before or 0) + amount

    def text(self) -> str:
        """Return the series in Prometheus' text format, those of a metric together."""
        names = dict.fromkeys(name for name, _ in self._sums)
        return "".join(line for name in sorted(names) for line in self._lines(name))

    def _lines(self, name: str) -> Iterator[str]:
        yield f"# TYPE {_PREFIX}{name} counter\n"
        for (of, labels), amount in self._sums.items():
            if of == name:
                yield f"{_PREFIX}{name}{{{_written(labels)}}} {amount}\n"


def _written(labels: Labels) -> str:
    return ",".join(
        f'{_FOREIGN.sub("_", label)}="{text.translate(_ESCAPED)}"' for label, text in labels
    )
