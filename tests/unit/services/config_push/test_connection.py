"""What a connection does with a session that holds something back: deadline, metric, receipts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from libs.model.delta import Delta
from libs.model.ids import Ref
from libs.model.mesh import Mesh
from libs.protos.receipts.v1.receipts_pb2 import Receipt
from libs.runtime.tasks import background
from libs.xds.stream.delta import DeltaSession
from libs.xds.stream.responses import Responses
from libs.xds.types import CLUSTER, ROUTE, Snapshot
from services.config_push import metrics
from services.config_push.connection import Connection, Offer, Peer
from services.config_push.connections import Connections
from services.config_push.push import Round
from services.config_push.receipts import ReceiptBook
from services.config_push.standing import standing
from tests.support.clock import VirtualClock, settle
from tests.support.push_plane import identity, node
from tests.support.snapshots import snapshot

BEFORE = snapshot({CLUSTER: {"a": "1"}, ROUTE: {"80": "a"}})
AFTER = snapshot({CLUSTER: {"b": "1"}, ROUTE: {"80": "b"}})
SECONDS = 5.0


class Bench:
    """One proxy that has and has answered BEFORE."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.book = ReceiptBook(clock=self.clock, history=10)
        self.connections = Connections()
        peer = Peer(identity(), "", node_id=node("one").id, metadata={})
        self.connection = Connection(1, peer, DeltaSession(Responses()), clock=self.clock)
        self.connection.observe = lambda what: self.book.observe(self.connection, what)
        self.connections.add(self.connection)
        self.read: list[DeltaDiscoveryResponse] = []
        self.push = 0

    async def write(self, body: bytes) -> None:
        self.read.append(DeltaDiscoveryResponse.FromString(body))

    async def offer(self, what: Snapshot) -> None:
        self.push += 1
        change = Delta(frozenset(), frozenset(), (Ref("Test/x/y"),), self.push, self.clock.now())
        self.book.begin(Round(self.push, Mesh(), (change,), frozenset(), 0.0), self.connections)
        since = self.clock.monotonic()
        self.connection.offer(
            Offer(what, self.push, whole=True, since=since, class_name="shop/one", digest="")
        )
        await settle()

    async def answer(self) -> list[str]:
        """Answer all that was read; return the types of what comes then."""
        read, self.read = self.read, []
        for one in read:
            request = DeltaDiscoveryRequest(type_url=one.type_url, response_nonce=one.nonce)
            await self.connection.on_request(request)
        await settle()
        return self.types

    @property
    def types(self) -> list[str]:
        return [one.type_url for one in self.read]

    @property
    def receipt(self) -> Receipt:
        return self.book.receipts()[-1]


@asynccontextmanager
async def _bench() -> AsyncIterator[Bench]:
    bench = Bench()
    async with background(
        bench.connection.write_all(bench.write, stall_seconds=60.0),
        bench.connection.release_overdue(warming_seconds=SECONDS),
    ):
        await bench.connection.on_request(DeltaDiscoveryRequest(type_url=CLUSTER))
        await bench.connection.on_request(
            DeltaDiscoveryRequest(type_url=ROUTE, resource_names_subscribe=["80"])
        )
        await bench.offer(BEFORE)
        while await bench.answer():
            pass
        assert not bench.connection.session.held
        yield bench


def _released() -> float:
    return metrics.RELEASED._value.get()  # type: ignore[no-any-return]


async def test_a_change_is_pending_until_what_was_held_is_answered() -> None:
    async with _bench() as bench:
        await bench.offer(AFTER)
        assert bench.types == [CLUSTER]
        assert (bench.receipt.pending, bench.receipt.settled) == (1, False)

        assert await bench.answer() == [ROUTE]
        assert (bench.receipt.pending, bench.receipt.settled) == (1, False)
        assert await bench.answer() == [CLUSTER]
        assert (bench.receipt.pending, bench.receipt.settled) == (1, False)
        assert await bench.answer() == []
        assert (bench.receipt.acknowledged, bench.receipt.settled) == (1, True)
        assert sorted(bench.receipt.classes[0].types) == sorted([CLUSTER, ROUTE])


async def test_a_proxy_is_synced_when_it_has_answered_all_that_it_was_offered() -> None:
    def stands(bench: Bench) -> tuple[int, int, int]:
        found = standing(bench.connections, 7.0)
        assert found.taken_over == 7.0
        return found.connected, found.synced, found.rejecting

    async with _bench() as bench:
        assert stands(bench) == (1, 1, 0)
        await bench.offer(AFTER)
        assert stands(bench) == (1, 0, 0)
        while await bench.answer():
            assert stands(bench) == (1, 0, 0)
        assert stands(bench) == (1, 1, 0)

        await bench.offer(BEFORE)
        refusal = DeltaDiscoveryRequest(type_url=CLUSTER, response_nonce=bench.read.pop().nonce)
        refusal.error_detail.message = "no"
        await bench.connection.on_request(refusal)
        assert stands(bench) == (1, 0, 1)
        while await bench.answer():
            pass
        assert stands(bench) == (1, 1, 0)  # what came after that was accepted


async def test_clusters_that_never_get_warm_hold_routes_for_a_bounded_time() -> None:
    async with _bench() as bench:
        before = _released()
        await bench.offer(AFTER)
        await bench.clock.advance(SECONDS - 0.1)
        assert bench.types == [CLUSTER]
        assert _released() == before

        await bench.clock.advance(0.2)
        assert bench.types == [CLUSTER, ROUTE]
        assert _released() == before + 1
        assert not bench.receipt.settled


async def test_routes_that_are_never_answered_hold_the_removal_for_a_bounded_time() -> None:
    async with _bench() as bench:
        await bench.offer(AFTER)
        assert await bench.answer() == [ROUTE]
        await bench.clock.advance(SECONDS + 0.1)
        assert bench.types == [ROUTE, CLUSTER]
        assert list(bench.read[-1].removed_resources) == ["a"]
        assert not bench.connection.session.held


async def test_answers_in_time_release_nothing_and_a_later_hold_has_its_own_time() -> None:
    async with _bench() as bench:
        before = _released()
        await bench.offer(AFTER)
        await bench.clock.advance(SECONDS - 1)
        while await bench.answer():
            pass
        await bench.offer(BEFORE)
        await bench.clock.advance(SECONDS - 1)
        assert bench.types == [CLUSTER]
        assert _released() == before


async def test_a_newer_offer_replaces_what_is_held_and_settles_both() -> None:
    async with _bench() as bench:
        await bench.offer(AFTER)
        await bench.offer(snapshot({CLUSTER: {"c": "1"}, ROUTE: {"80": "c"}}))
        assert bench.types == [CLUSTER, CLUSTER]

        assert await bench.answer() == [ROUTE]
        assert bench.read[0].resources[0].resource.value == b"80:c"
        while await bench.answer():
            pass
        assert all(receipt.settled for receipt in bench.book.receipts())
