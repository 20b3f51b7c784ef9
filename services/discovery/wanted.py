"""Wanted: one task for each thing that the mesh wants, for as long as it does.

A thing is known by a name. Its task says once that it was tried, for those who wait for a first
outcome, good or bad. How many things there may be is for their owner to bound.
"""

import asyncio
from collections.abc import Callable, Coroutine
from collections.abc import Set as AbstractSet
from typing import Any

from libs.runtime.tasks import Group

Keep = Callable[[str], Coroutine[Any, Any, None]]
"""Does what there is to do about a name, until it is cancelled."""


class Wanted:
    """What is wanted now; `run` holds the tasks."""

    def __init__(self, keep: Keep, forget: Callable[[str], None]) -> None:
        """`forget` is told of each name that is wanted no more, once its task has been told."""
        self._keep = keep
        self._forget = forget
        self._names: AbstractSet[str] = frozenset()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._tried: set[str] = set()
        self._changed = asyncio.Event()
        self._attempted = asyncio.Event()

    def want(self, names: AbstractSet[str]) -> None:
        """Want `names`, and nothing else."""
        if names != self._names:
            self._names = names
            self._changed.set()

    def tried(self, name: str) -> None:
        """Say that a name has an outcome."""
        self._tried.add(name)
        self._attempted.set()

    async def every_one(self, seconds: float) -> bool:
        """Return True once everything wanted was tried, or False after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while not self._names <= self._tried:
                    self._attempted.clear()
                    await self._attempted.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Hold the tasks until cancelled."""
        async with Group() as group:
            while True:
                await self._changed.wait()
                self._changed.clear()
                for name in self._tasks.keys() - self._names:
                    self._tasks.pop(name).cancel()
                    self._tried.discard(name)
                    self._forget(name)
                for name in self._names - self._tasks.keys():
                    self._tasks[name] = group.create_task(self._keep(name))
