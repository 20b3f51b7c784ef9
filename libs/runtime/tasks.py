"""Tasks: background work that ends with the block that started it.

The only way to run something beside something else is a TaskGroup: a task that crashes takes its
group down, the group takes `serve` down, and `libs.runtime.main` logs it and exits with 1. A
half-dead process, alive to its supervisor and deaf to its clients, cannot come to be.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any


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
