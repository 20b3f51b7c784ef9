"""How many statuses are written, and which first."""

from typing import cast

import msgspec
import pytest
from prometheus_client import REGISTRY

from libs.api.problem import Problem
from libs.api.registry import KINDS
from libs.kube.client import Client
from libs.kube.errors import UnreachableError
from libs.kube.follow import Change
from libs.kube.list import Name
from libs.model.ids import Ref
from libs.protos.receipts.v1.receipts_pb2 import Receipt, RefStanding, Standing
from libs.runtime.tasks import background
from services.discovery.status.disputes import BACKOFF, QUIET_SECONDS
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
        self.away = False
        self.rival: list[dict[str, object]] | None = None
        """What somebody else writes whenever we have written our conditions."""

    def has(self, name: str, status: object = None, **labels: str) -> None:
        metadata = {
            "generation": 1,
            "resourceVersion": str(len(self.written)),
            "labels": {f"istio.io/{key}": value for key, value in labels.items()},
            "managedFields": [
                {
                    "manager": manager,
                    "subresource": "status",
                    "fieldsV1": {"f:status": {"f:conditions": {}}},
                }
                for manager in (self.writer.subjects.manager, "pilot-discovery")
            ],
        }
        raw = msgspec.Raw(msgspec.json.encode({"metadata": metadata, "status": status or {}}))
        self.writer.subjects.take(KIND, [Change(Name("shop", name), raw)])

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, object],
        params: dict[str, str],
        **_: object,
    ) -> None:
        assert (method, params) == ("PATCH", {"fieldManager": self.writer.subjects.manager})
        if self.away:
            raise UnreachableError("nobody there")
        name = path.split("/")[-2]
        self.written.append((self.clock.monotonic(), name))
        self.has(name, body["status"])
        if self.rival is not None:
            self.has(name, {"conditions": self.rival})

    async def settle(self, seconds: float = 60.0) -> list[tuple[float, str]]:
        self.written.clear()
        await self.clock.advance(seconds)
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


def _disputes() -> float | None:
    return REGISTRY.get_sample_value("seine_discovery_status_disputes", {"what": "conditions"})


RECONCILED = {"type": "Reconciled", "status": "True", "reason": "x", "message": ""}


@pytest.mark.parametrize("rival", [[], [RECONCILED]])
async def test_who_replaces_conditions_again_and_again_is_answered_ever_more_seldom(
    caplog: pytest.LogCaptureFixture, rival: list[dict[str, object]]
) -> None:
    server = Server()
    server.has("r0")
    server.has("calm")
    async with background(server.writer.run()):
        await server.settle()
        server.rival = rival
        server.has("r0", {"conditions": rival})
        assert 3 <= len(await server.settle(600.0)) <= 12
        rarely = len(await server.settle(600.0))
        assert 600.0 / BACKOFF.limit <= rarely <= 600.0 / BACKOFF.limit * 2
        assert _disputes() == 1
        (told,) = [it for it in caplog.records if "writes this status" in it.getMessage()]
        assert vars(told)["writers"] == "pilot-discovery"

        server.rival = None  # and what is new is said at once
        wrong = [Problem(Ref(f"VirtualService/shop/{it}"), "spec", "Bad", "") for it in _BOTH]
        server.writer.publish(wrong)
        assert sorted(name for _, name in await server.settle(2.0)) == sorted(_BOTH)
        assert await server.settle(2 * BACKOFF.limit + QUIET_SECONDS) == []
        assert _disputes() == 0


_BOTH = ("r0", "calm")


async def test_numbers_that_change_and_writes_that_fail_are_no_dispute() -> None:
    server = Server()
    server.has("r0")
    server.writer.progress.open("a")
    said = Receipt(causes=[ref(0)], generations=[1], settled=True, acknowledged=1)
    server.writer.progress.receipt("a", said)
    async with background(server.writer.run()):
        await server.settle()
        for times in range(1, 10):
            look(server, 3**times)
            assert [name for _, name in await server.settle(1.0)] == ["r0"]
        server.away = True
        server.writer.publish([Problem(ref(0), "spec", "Bad", "")])
        assert await server.settle() == []
        server.away = False
        assert len(await server.settle(31.0)) == 1
        assert _disputes() == 0
