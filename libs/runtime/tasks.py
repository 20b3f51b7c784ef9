"""Tasks: background work that ends with the block that started it.

The only way to run something beside something else is a TaskGroup: a task that crashes takes its
group down, the group takes `serve` down, and `libs.runtime.main` logs it and exits with 1. A
half-dead process, alive to its supervisor and deaf to its clients, cannot come to be.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

from libs.runtime.clock import Clock


@asynccontextmanager
async def background(*work: Coroutine[Any, Any, Any]) -> AsyncIterator[asyncio.TaskGroup]:
    """Run `work` while the block runs; leaving the block cancels it, its crash ends the block.

    Yields the group so that the block can add more tasks, which are cancelled with the others.
    """
    group = asyncio.TaskGroup()
    async with group:
        for coroutine in work:
            group.create_task(coroutine)
        yield group
        _cancel_all(group)


async def pause(seconds: float, wake: asyncio.Event, clock: Clock) -> None:
    """Return after `seconds`, or as soon as `wake` is set; it stays set."""
    async with asyncio.TaskGroup() as group:
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
