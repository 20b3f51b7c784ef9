"""The report at the end of the tests on a cluster: what was seen, for people."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from services.local.trails import Seen


class Report:
    """What the tests note; nothing of it is asserted here."""

    def __init__(self) -> None:
        self.images: list[str] = []
        self._steps: list[tuple[str, float]] = []
        self._calls: Counter[tuple[str, str, str, str, str]] = Counter()
        self._notes: list[str] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Note how long a block takes."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._steps.append((name, time.monotonic() - began))

    def calls(self, seen: Iterable[Seen]) -> None:
        """Note calls that were made."""
        for call in seen:
            request = f"{call.protocol} {call.method}".strip()
            end = call.outcome if call.ok else call.outcome[:40]
            key = (_app(call.caller), call.service, request, call.proof or "-", end)
            self._calls[key] += 1

    def note(self, text: str) -> None:
        """Note a sentence."""
        self._notes.append(text)

    def lines(self) -> Iterator[str]:
        """Yield the report line by line; nothing if nothing was noted."""
        for name, seconds in self._steps:
            yield f"{seconds:7.1f} s  {name}"
        if self._calls:
            yield f"{'caller':<12} {'callee':<12} {'request':<12} {'calls':>6}  proved, outcome"
        for (caller, callee, request, proof, end), count in sorted(self._calls.items()):
            yield f"{caller:<12} {callee:<12} {request:<12} {count:>6}  {proof}  {end}"
        yield from self._notes


def _app(pod: str) -> str:
    """Return the application of a Deployment's pod: `reviews-v1-5d9c-x7k` is `reviews`."""
    return pod.partition("-")[0]
