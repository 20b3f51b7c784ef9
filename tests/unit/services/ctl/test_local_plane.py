"""The mesh on this machine: what is followed of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from libs.protos.receipts.v1.receipts_pb2 import ListRequest, Receipt, ReceiptList, WatchRequest
from libs.runtime.localmesh import LocalMesh
from services.ctl import channel, local_plane
from services.ctl.local_plane import LocalPlane


def _receipts(**settled: bool) -> list[Receipt]:
    return [Receipt(change=int(name[1:]), settled=it) for name, it in settled.items()]


class Stub:
    """Config-push, which says everything that it holds again, and what moves."""

    def __init__(self, _: object) -> None:
        pass

    async def List(self, _: ListRequest) -> ReceiptList:  # noqa: N802  # the protocol's name
        return ReceiptList(receipts=_receipts(c1=True, c2=False, c3=True))

    async def Watch(self, _: WatchRequest) -> AsyncIterator[Receipt]:  # noqa: N802  # the same
        for one in _receipts(c1=True, c2=False, c3=True, c4=False):
            yield one
        for one in [*_receipts(c4=True, c2=True), *_receipts(c2=True, c5=True)]:
            yield one


def test_what_is_settled_from_now_on_is_shown_once(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def connect(*_: object) -> AsyncIterator[None]:
        yield

    monkeypatch.setattr(channel, "connect", connect)
    monkeypatch.setattr(local_plane, "ReceiptsStub", Stub)
    shown: list[int] = []
    plane = LocalPlane(cast("LocalMesh", None))
    plane.watch("", lambda one: shown.append(one.change))
    assert shown == [4, 2, 5]
