"""Problems: the whole list of what is wrong with the configuration, for those who watch it.

A watcher that is slower than the changes gets the latest list and misses those in between.
"""

import asyncio
from collections.abc import AsyncIterator

from libs.api.problem import Problem
from libs.protos.feed.v1 import feed_pb2


class Problems:
    """The latest list, and everyone who watches it."""

    def __init__(self) -> None:
        self._latest: tuple[Problem, ...] | None = None
        self._changed = asyncio.Event()

    @property
    def latest(self) -> tuple[Problem, ...]:
        """The latest list; empty before the first load."""
        return self._latest or ()

    def publish(self, problems: tuple[Problem, ...]) -> None:
        """Make `problems` the latest list."""
        if problems == self._latest:
            return
        self._latest = problems
        self._changed.set()
        self._changed = asyncio.Event()

    async def follow(self) -> AsyncIterator[tuple[Problem, ...]]:
        """Yield the list as soon as there is one, and again whenever it has changed."""
        sent: tuple[Problem, ...] | None = None
        while True:
            changed = self._changed
            if self._latest is not None and self._latest != sent:
                sent = self._latest
                yield sent
            else:
                await changed.wait()


def message(problems: tuple[Problem, ...]) -> feed_pb2.ProblemList:
    """Return the message that carries a list."""
    return feed_pb2.ProblemList(problems=[_problem(problem) for problem in problems])


def _problem(problem: Problem) -> feed_pb2.Problem:
    return feed_pb2.Problem(
        ref=problem.ref,
        path=problem.path,
        reason=problem.reason,
        text=problem.text,
        severity=problem.severity,
        file=problem.file,
        line=problem.line,
    )
