"""Analyst: findings about the latest state, for people who ask.

Unlike problems they are not looked for at every change, because they may be true for a while in any
healthy mesh. One analysis runs at a time, in a thread; who asks meanwhile waits, and gets the same
answer if nothing has changed.
"""

import asyncio
from collections.abc import Callable

from libs.api.problem import Problem
from libs.translate import analysis
from libs.translate.apply import State


class Analyst:
    """Analyses each state at most once."""

    def __init__(self, state: Callable[[], State], located: Callable[[Problem], Problem]) -> None:
        self._state = state
        self._located = located
        self._one_at_a_time = asyncio.Lock()
        self._known: tuple[State, tuple[Problem, ...]] | None = None

    async def findings(self) -> tuple[Problem, ...]:
        """Return what is noticed about the latest state, with file and line where there are any."""
        async with self._one_at_a_time:
            state = self._state()
            if self._known is None or self._known[0] is not state:
                found = await asyncio.to_thread(analysis.findings, state)
                self._known = state, tuple(map(self._located, found))
            return self._known[1]
