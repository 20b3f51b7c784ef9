"""Tasks: background work that ends with the block that started it.

The only way to run something beside something else is a TaskGroup: a task that crashes takes its
group down, the group takes `serve` down, and `libs.runtime.main` logs it and exits with 1. A
half-dead process, alive to its supervisor and deaf to its clients, cannot come to be. The TaskGroup
is `Group`, since asyncio's own may make a task deaf to its end.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

from libs.runtime.clock import Clock

logger = logging.getLogger(__name__)


class Group(asyncio.TaskGroup):
    """A TaskGroup that loses no cancellation.

    Before Python 3.13 one that comes while a group waits for its tasks, because of an error, is
    forgotten: the errors are raised, and whoever handles them and goes on is never cancelled again.
    Here the cancellation is raised then, and the errors are logged.
    """

    if sys.version_info < (3, 13):

        async def __aenter__(self) -> Self:
            self._asked_before = _cancelling()
            return await super().__aenter__()

        async def __aexit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
        ) -> None:
            try:
                await super().__aexit__(kind, error, trace)
            except BaseExceptionGroup as errors:
                if _cancelling() <= self._asked_before:
                    raise
                said = [f"{type(one).__name__}: {one}" for one in leaves(errors)]
                logger.warning("tasks failed while they were cancelled", extra={"errors": said})
                raise asyncio.CancelledError from errors


def _cancelling() -> int:
    """How often the running task was asked to end, and has not been told otherwise."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0


@asynccontextmanager
async def background(*work: Coroutine[Any, Any, Any]) -> AsyncIterator[asyncio.TaskGroup]:
    """Run `work` while the block runs; leaving the block cancels it, its crash ends the block.

    Yields the group so that the block can add more tasks, which are cancelled with the others.
    """
    group = Group()
    async with group:
        for coroutine in work:
            group.create_task(coroutine)
        yield group
        _cancel_all(group)


async def pause(seconds: float, wake: asyncio.Event, clock: Clock) -> None:
    """Return after `seconds`, or as soon as `wake` is set; it stays set."""
    async with Group() as group:
        sleeping = group.create_task(clock.sleep(seconds))
        waiting = group.create_task(wake.wait())
        await asyncio.wait({sleeping, waiting}, return_when=asyncio.FIRST_COMPLETED)
        sleeping.cancel()
        waiting.cancel()


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the single exceptions inside nested groups."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def _cancel_all(group: asyncio.TaskGroup) -> None:
    for task in list(group._tasks):  # noqa: SLF001  # the group keeps the only list of its tasks
        task.cancel()
