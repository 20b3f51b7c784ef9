import asyncio

import pytest

from libs.runtime.tasks import background, leaves


async def forever(log: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        log.append("ended")


async def crash(after: asyncio.Event) -> None:
    await after.wait()
    message = "broken"
    raise ValueError(message)


async def test_leaving_the_block_ends_the_work() -> None:
    log: list[str] = []
    async with background(forever(log), forever(log)) as group:
        group.create_task(forever(log))
        await asyncio.sleep(0)
    assert log == ["ended"] * 3


async def test_a_crash_ends_the_block_and_the_other_work() -> None:
    log: list[str] = []
    go = asyncio.Event()

    async def block() -> None:
        async with background(crash(go), forever(log)):
            go.set()
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        await block()
    assert [str(leaf) for leaf in leaves(caught.value)] == ["broken"]
    assert log == ["ended"]


async def test_cancelling_from_outside_is_not_swallowed() -> None:
    log: list[str] = []

    async def outer() -> None:
        async with background(forever(log)):
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(outer())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()
    assert log == ["ended"]
