import asyncio

import pytest

from libs.runtime.tasks import background, leaves, pause
from tests.support.clock import VirtualClock


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


async def test_a_pause_ends_in_time_or_when_woken() -> None:
    clock, wake, log = VirtualClock(), asyncio.Event(), list[str]()

    async def waits(name: str) -> None:
        await pause(10.0, wake, clock)
        log.append(name)

    async with background(waits("in time")) as group:
        await clock.advance(9.9)
        assert log == []
        await clock.advance(0.1)
        assert log == ["in time"]
        group.create_task(waits("woken"))
        await clock.advance(1.0)
        wake.set()
        await clock.advance(0.0)
        assert log == ["in time", "woken"]
