"""Receipts of several replicas are followed as one, whatever becomes of the replicas."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from libs.kube import forward
from libs.kube.client import Client
from libs.kube.errors import PageStatusError, UnreachableError
from libs.kube.forward import Page
from libs.model import changes
from libs.protos.receipts.v1.receipts_pb2 import Receipt
from libs.runtime.tasks import background
from services.ctl import following, merging
from services.ctl.following import Following

SECONDS = 30.0


class Replicas:
    """What replicas say; those of `old` have no stream, only a page."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names = ["one", "two"]
        self.old: set[str] = set()
        self.pages: dict[str, list[dict[str, Any]]] = {}
        self.streams: dict[str, asyncio.Queue[dict[str, Any] | None]] = {}
        self.opened = 0
        monkeypatch.setattr(forward, "lines", self._lines)
        monkeypatch.setattr(forward, "get", self._get)
        monkeypatch.setattr(following, "AGAIN_SECONDS", 0.05)
        monkeypatch.setattr(following, "LOOK_SECONDS", 0.05)
        monkeypatch.setattr(following, "LATE_SECONDS", 0.0)

    async def pods(self) -> list[str]:
        return self.names

    def say(self, name: str, change: int, **fields: Any) -> None:  # noqa: ANN401  # JSON
        data = {"change": changes.name(change), "causes": ["a"], **fields}
        self.stream(name).put_nowait(data)

    def stream(self, name: str) -> asyncio.Queue[dict[str, Any] | None]:
        return self.streams.setdefault(name, asyncio.Queue())

    async def _lines(
        self, _: Client, __: str, pod: str, **___: object
    ) -> AsyncGenerator[bytes, None]:
        if pod in self.old:
            raise PageStatusError(404)
        self.opened += 1
        while (data := await self.stream(pod).get()) is not None:
            yield json.dumps(data).encode()
        raise UnreachableError("gone")

    async def _get(self, _: Client, __: str, pod: str, **___: object) -> Page:
        return Page(200, json.dumps(self.pages.get(pod, [])).encode())


class Reader:
    """What is shown."""

    def __init__(self) -> None:
        self.shown: asyncio.Queue[Receipt] = asyncio.Queue()
        nobody = cast("Client", None)
        show = self.shown.put_nowait
        self.of = Following(nobody, "istio-system", "", port=1, show=show)

    async def next(self) -> Receipt:
        async with asyncio.timeout(SECONDS):
            return await self.shown.get()


@pytest.fixture(name="replicas")
def replicas_of_it(monkeypatch: pytest.MonkeyPatch) -> Replicas:
    return Replicas(monkeypatch)


async def test_what_all_have_settled_is_shown_once_and_added_up(replicas: Replicas) -> None:
    reader = Reader()
    replicas.say("one", 7, settled=True, sent=2, acknowledged=2)
    replicas.say("two", 7, sent=1, pending=1)
    async with background(reader.of.run(replicas.pods, ())):
        replicas.say("one", 8, settled=True)
        assert (await reader.next()).change == 8
        replicas.say("two", 7, settled=True, sent=1, acknowledged=1)
        found = await reader.next()
        assert (found.change, found.sent, found.acknowledged) == (7, 3, 3)
        replicas.say("two", 7, settled=True, sent=1, acknowledged=1)
        replicas.say("two", 9, settled=True)
        assert (await reader.next()).change == 9


async def test_who_speaks_late_is_waited_for(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica without proxies has settled a change before the others have heard of it."""
    monkeypatch.setattr(following, "LATE_SECONDS", 600.0)
    monkeypatch.setattr(following, "SETTLE_SECONDS", 0.01)
    reader = Reader()
    async with background(reader.of.run(replicas.pods, ())):
        replicas.say("one", 7, settled=True)
        replicas.say("one", 8, settled=True)
        replicas.say("two", 8, settled=True, sent=1, acknowledged=1)
        assert (await reader.next()).change == 8
        replicas.say("two", 7, settled=True, sent=1, acknowledged=1)
        found = await reader.next()
        assert (found.change, found.acknowledged) == (7, 1)


async def test_what_was_known_before_is_not_shown(replicas: Replicas) -> None:
    reader = Reader()
    known = merging.by_change([[{"change": changes.name(7), "causes": ["a"]}]])
    replicas.say("one", 7, settled=True)
    replicas.say("one", 8, settled=True)
    async with background(reader.of.run(replicas.pods, known)):
        assert (await reader.next()).change == 8


async def test_a_stream_that_breaks_is_opened_again_and_new_replicas_are_followed(
    replicas: Replicas,
) -> None:
    reader = Reader()
    async with background(reader.of.run(replicas.pods, ())):
        replicas.say("one", 7, settled=True)
        assert (await reader.next()).change == 7
        replicas.stream("one").put_nowait(None)
        replicas.say("one", 8, settled=True)
        assert (await reader.next()).change == 8
        replicas.names.append("three")
        replicas.say("three", 9, settled=True)
        assert (await reader.next()).change == 9
    assert replicas.opened == 4


async def test_a_replica_without_a_stream_is_looked_at(replicas: Replicas) -> None:
    replicas.old = {"one", "two"}
    reader = Reader()
    async with background(reader.of.run(replicas.pods, ())):
        replicas.pages["one"] = [{"change": changes.name(7), "settled": True, "causes": ["a"]}]
        assert (await reader.next()).change == 7


async def test_what_is_held_is_bounded(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MAX_HELD", 3)
    reader = Reader()
    async with background(reader.of.run(replicas.pods, ())):
        for change in range(1, 20):
            replicas.say("one", change, settled=True)
            assert (await reader.next()).change == change
    assert len(reader.of._held["one"]) == 3
    assert len(reader.of._shown) <= 7
