"""How many statuses are written, and which first."""

from typing import cast

import msgspec

from libs.api.problem import Problem
from libs.api.registry import KINDS
from libs.kube.client import Client
from libs.kube.follow import Change
from libs.kube.list import Name
from libs.model.ids import Ref
from libs.protos.receipts.v1.receipts_pb2 import Receipt, RefStanding, Standing
from libs.runtime.tasks import background
from services.discovery.status.writer import REFRESHED, WRITES_PER_SECOND, StatusWriter
from tests.support.clock import VirtualClock

KIND = next(it for it in KINDS if it.name == "VirtualService")
MANY = 200


class Server:
    """Takes note of writes, and tells them like a watch."""

    def __init__(self, revision: str = "default") -> None:
        self.clock = VirtualClock()
        self.writer = StatusWriter(
            cast("Client", self), self.clock, lambda: None, revision=revision
        )
        self.written: list[tuple[float, str]] = []

    def has(self, name: str, status: object = None, **labels: str) -> None:
        metadata = {
            "generation": 1,
            "resourceVersion": str(len(self.written)),
            "labels": {f"istio.io/{key}": value for key, value in labels.items()},
        }
        raw = msgspec.Raw(msgspec.json.encode({"metadata": metadata, "status": status or {}}))
        self.writer.subjects.take(KIND, [Change(Name("shop", name), raw)])

    async def request(
        self, method: str, path: str, *, body: dict[str, object], **_: object
    ) -> None:
        assert method == "PATCH"
        name = path.split("/")[-2]
        self.written.append((self.clock.monotonic(), name))
        self.has(name, body["status"])

    async def settle(self) -> list[tuple[float, str]]:
        self.written.clear()
        await self.clock.advance(60.0)
        return list(self.written)


def ref(number: int) -> Ref:
    return Ref(f"VirtualService/shop/r{number}")


def standing(concerned: int) -> Standing:
    found = [RefStanding(ref=ref(it), concerned=concerned, synced=concerned) for it in range(MANY)]
    return Standing(connected=concerned, synced=concerned, joined=concerned, resources=found)


def look(server: Server, concerned: int) -> None:
    book = server.writer.progress
    book.looked("a", standing(concerned), book.shares("a", server.writer.everything()))


async def started(server: Server) -> None:
    for number in range(MANY):
        server.has(f"r{number}")
    server.writer.progress.open("a")
    refs = [ref(it) for it in range(MANY)]
    said = Receipt(causes=refs, generations=[1] * MANY, settled=True, acknowledged=1)
    server.writer.progress.receipt("a", said)


async def test_writes_are_spread_over_time() -> None:
    server = Server()
    await started(server)
    async with background(server.writer.run()):
        written = await server.settle()
    assert sorted(name for _, name in written) == sorted(f"r{it}" for it in range(MANY))
    took = written[-1][0] - written[0][0]
    assert took >= (MANY - 1) / WRITES_PER_SECOND - 0.001


async def test_a_proxy_that_connects_costs_no_write() -> None:
    server = Server()
    await started(server)
    look(server, 10)
    async with background(server.writer.run()):
        await server.settle()
        look(server, 11)
        assert await server.settle() == []


async def test_news_do_not_wait_behind_numbers() -> None:
    server = Server()
    await started(server)
    async with background(server.writer.run()):
        await server.settle()
        look(server, 1000)
        last = ref(MANY - 1)
        server.writer.publish([Problem(last, "spec", "InvalidHost", "is wrong")])
        written = [name for _, name in await server.settle()]
        assert written[0] == f"r{MANY - 1}"
        assert len(written) == MANY
        assert len(written) > REFRESHED


async def test_what_is_given_to_no_revision_has_its_status_from_the_default_one() -> None:
    """Two that write the conditions of one object would never be done."""
    for revision, expected in (("default", ["all", "mine"]), ("canary", ["mine"])):
        server = Server(revision)
        server.has("all")
        server.has("mine", rev=revision)
        async with background(server.writer.run()):
            server.writer.publish(())
            assert sorted({name for _, name in await server.settle()}) == expected
