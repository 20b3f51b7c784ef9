import asyncio
import sys

import pytest

from libs.runtime.tasks import Group, background, leaves, pause
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


async def _fails_again_and_again(kind: type[asyncio.TaskGroup], times: int) -> None:
    """Do what followers of others do: a group ends by an error, and is begun anew."""
    for _ in range(times):
        try:
            async with kind() as group:
                group.create_task(asyncio.Event().wait())
                await asyncio.sleep(0)
                raise_key_error()
        except* KeyError:
            await asyncio.sleep(0)


def raise_key_error() -> None:
    raise KeyError


async def _lost(kind: type[asyncio.TaskGroup]) -> int:
    """Cancel at each step of a task; return how often it went on as if nothing had happened."""
    lost = 0
    for step in range(60):
        task = asyncio.get_running_loop().create_task(_fails_again_and_again(kind, 50))
        for _ in range(step):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        lost += not task.cancelled()
    return lost


async def test_a_cancellation_while_a_group_fails_is_not_lost() -> None:
    assert await _lost(Group) == 0


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="asyncio's own group loses none there")
async def test_the_negative_control_asyncios_own_group_loses_some() -> None:
    assert await _lost(asyncio.TaskGroup) > 0


async def test_a_time_limit_holds_while_a_group_fails() -> None:
    """The limit is a cancellation, too; and what comes after it is not cancelled."""
    for microseconds in range(0, 2_000, 50):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(microseconds / 1e6):
                await _fails_again_and_again(Group, 100_000)
        await asyncio.sleep(0)


async def test_errors_that_a_cancellation_hides_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fails_when_it_ends() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("not closed")

    async def block() -> None:
        async with Group() as group:
            group.create_task(fails_when_it_ends())

    task = asyncio.get_running_loop().create_task(block())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    if sys.version_info < (3, 13):
        assert task.cancelled()
        assert "tasks failed while they were cancelled" in caplog.text
    else:
        assert isinstance(task.exception(), ExceptionGroup)


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
