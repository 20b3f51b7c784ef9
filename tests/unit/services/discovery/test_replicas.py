"""Replicas of config-push that come, go, and fall silent."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc.aio
import pytest

from libs.rpc.errors import NotReadyError
from libs.runtime.tasks import background
from services.discovery.replicas import MAX_REPLICAS, Replicas
from tests.support.clock import VirtualClock


class Book:
    """Writes down what becomes of replicas; its streams never end."""

    hears = "everything"

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.listening: set[str] = set()
        self.moved = asyncio.Event()

    def open(self, replica: str) -> None:
        self.opened.append(replica)

    def close(self, replica: str) -> None:
        self.closed.append(replica)
        self.moved.set()

    async def listen(
        self, replica: str, _channel: grpc.aio.Channel, heard: Callable[[], None]
    ) -> None:
        heard()
        self.listening.add(replica)
        self.moved.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.listening.discard(replica)
            self.moved.set()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not true():
                self.moved.clear()
                await self.moved.wait()


@asynccontextmanager
async def connect(_address: str) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel("unix:/nowhere") as channel:
        yield channel


async def test_replicas_that_come_are_followed_and_those_that_go_are_closed() -> None:
    book, counts = Book(), list[int]()
    replicas = Replicas(connect, book, VirtualClock(), counted=counts.append)
    replicas.want(frozenset({"a:1", "b:1"}))
    async with background(replicas.run()):
        await book.until(lambda: book.listening == {"a:1", "b:1"})
        replicas.want(frozenset({"b:1", "c:1"}))
        await book.until(lambda: book.listening == {"b:1", "c:1"})
        assert book.closed == ["a:1"]
    assert sorted(book.closed) == ["a:1", "b:1", "c:1"]
    assert set(counts[:-1]) == {2}
    assert counts[-1] == 0


async def test_a_replica_that_went_while_nobody_listened_is_not_waited_for() -> None:
    """A leader that lost its lease and has it again knows of nobody from before."""
    book = Book()
    replicas = Replicas(connect, book, VirtualClock())
    replicas.want(frozenset({"a:1"}))
    async with background(replicas.run()):
        await book.until(lambda: book.listening == {"a:1"})
    replicas.want(frozenset({"b:1"}))
    async with background(replicas.run()):
        await book.until(lambda: book.listening == {"b:1"})
        assert set(book.opened) - set(book.closed) == {"b:1"}


async def test_a_stream_that_cannot_be_opened_is_tried_again() -> None:
    book, clock, tries = Book(), VirtualClock(), list[str]()

    @asynccontextmanager
    async def fails_first(address: str) -> AsyncIterator[grpc.aio.Channel]:
        tries.append(address)
        if len(tries) < 3:
            message = "no certificate yet"
            raise NotReadyError(message)
        async with connect(address) as channel:
            yield channel

    replicas = Replicas(fails_first, book, clock)
    replicas.want(frozenset({"a:1"}))
    async with background(replicas.run()):
        for _ in range(2):
            await clock.advance_to_next()
        await book.until(lambda: book.listening == {"a:1"})
    assert tries == ["a:1"] * 3


async def test_replicas_beyond_the_bound_are_left_out_aloud(
    caplog: pytest.LogCaptureFixture,
) -> None:
    book = Book()
    replicas = Replicas(connect, book, VirtualClock())
    replicas.want(frozenset(f"{number:04}:1" for number in range(MAX_REPLICAS + 5)))
    async with background(replicas.run()):
        await book.until(lambda: len(book.listening) == MAX_REPLICAS)
    assert "too many replicas" in caplog.text
