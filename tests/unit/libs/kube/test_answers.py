import asyncio

import pytest

from libs.kube.answers import Answers
from libs.kube.errors import BusyError, UnreachableError
from tests.support.clock import VirtualClock, settle


class Oracle:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.ready = asyncio.Event()
        self.error: Exception | None = None

    async def ask(self, key: str, seconds: float = 10.0) -> tuple[str, float]:
        self.asked.append(key)
        await self.ready.wait()
        if self.error:
            raise self.error
        return f"answer to {key}", seconds


async def test_a_crowd_of_equal_questions_is_asked_once() -> None:
    oracle, answers = Oracle(), Answers[str](VirtualClock(), size=10, waiting=100)
    async with asyncio.TaskGroup() as group:
        crowd = [group.create_task(answers.get("a", lambda: oracle.ask("a"))) for _ in range(50)]
        await settle()
        oracle.ready.set()
    assert {task.result() for task in crowd} == {"answer to a"}
    assert oracle.asked == ["a"]


async def test_too_many_open_questions_are_sent_away() -> None:
    oracle, answers = Oracle(), Answers[str](VirtualClock(), size=10, waiting=2)
    async with asyncio.TaskGroup() as group:
        for key in ("a", "b"):
            group.create_task(answers.get(key, lambda key=key: oracle.ask(key)))
        await settle()
        with pytest.raises(BusyError):
            await answers.get("c", lambda: oracle.ask("c"))
        oracle.ready.set()
    assert await answers.get("c", lambda: oracle.ask("c")) == "answer to c"


async def test_what_is_kept_is_bounded_and_the_last_used_stay() -> None:
    oracle, answers = Oracle(), Answers[str](VirtualClock(), size=2, waiting=10)
    oracle.ready.set()
    for key in ("a", "b", "a", "c", "a"):
        await answers.get(key, lambda key=key: oracle.ask(key))
    assert len(answers) == 2
    assert oracle.asked == ["a", "b", "c"]


async def test_errors_are_not_kept_and_reach_only_who_asked() -> None:
    oracle, answers = Oracle(), Answers[str](VirtualClock(), size=2, waiting=10)
    oracle.ready.set()
    oracle.error = UnreachableError("x")
    with pytest.raises(UnreachableError):
        await answers.get("a", lambda: oracle.ask("a"))
    oracle.error = None
    assert await answers.get("a", lambda: oracle.ask("a")) == "answer to a"


async def test_who_gives_up_does_not_take_the_others_answer_away() -> None:
    oracle, answers = Oracle(), Answers[str](VirtualClock(), size=2, waiting=10)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(answers.get("a", lambda: oracle.ask("a")))
        second = group.create_task(answers.get("a", lambda: oracle.ask("a")))
        await settle()
        first.cancel()
        oracle.ready.set()
    assert second.result() == "answer to a"


async def test_an_answer_that_is_not_to_be_kept_is_not() -> None:
    oracle, answers = Oracle(), Answers[str](VirtualClock(), size=2, waiting=10)
    oracle.ready.set()
    for _ in range(2):
        await answers.get("a", lambda: oracle.ask("a", seconds=0.0))
    assert oracle.asked == ["a", "a"]
