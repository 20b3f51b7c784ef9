import asyncio
import contextlib

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from libs.model.delta import Delta
from libs.model.ids import Ref
from libs.model.mesh import Key, Mesh, Table
from libs.protos.receipts.v1.receipts_pb2 import Receipt
from libs.xds.stream.delta import DeltaSession
from libs.xds.stream.events import Acked, Event, Nacked, Sent, Stale
from libs.xds.stream.responses import Responses
from libs.xds.types import CLUSTER, ENDPOINT, NAME_TABLE, ROUTE, Snapshot
from services.config_push.connection import Applied, Connection, Offer, Peer
from services.config_push.connections import Connections
from services.config_push.push import Round
from services.config_push.receipts import ReceiptBook
from tests.support.clock import VirtualClock, settle
from tests.support.push_plane import identity, node

CAUSE = Ref("VirtualService/shop/web")


class Desk:
    """A book, and proxies about which it is told."""

    def __init__(self, history: int = 10) -> None:
        self.clock = VirtualClock()
        self.book = ReceiptBook(clock=self.clock, history=history)
        self.connections = Connections()
        self.push = 0

    def proxy(self, name: str, class_name: str = "shop/web") -> Connection:
        made = node(name)
        peer = Peer(identity(), "", node_id=made.id, metadata={})
        connection = Connection(
            self.connections.next_number(), peer, DeltaSession(Responses()), clock=self.clock
        )
        connection.offered = self._offer(class_name=class_name)
        self.connections.add(connection)
        return connection

    def round(self, *changes: int, table: Table = Table.ROUTING, cause: Ref = CAUSE) -> None:
        self.push += 1
        deltas = tuple(
            Delta(frozenset({Key(table, "x")}), frozenset(), (cause,), change, self.clock.now())
            for change in changes
        )
        made = Round(self.push, Mesh(), deltas, frozenset({table}), 0.0)
        self.book.begin(made, self.connections)

    def sent(self, to: Connection, *responses: tuple[str, str], whole: bool = True) -> None:
        events = tuple(
            Sent(type_url, nonce, self.push, resources=1, removed=0, size=1, full=False)
            for type_url, nonce in responses
        )
        self.book.observe(to, Applied(self._offer(whole=whole), events))

    def says(self, connection: Connection, event: Event) -> None:
        self.book.observe(connection, event)

    def _offer(self, *, whole: bool = True, class_name: str = "shop/web") -> Offer:
        return Offer(
            Snapshot({}), self.push, whole=whole, since=0.0, class_name=class_name, digest=""
        )

    def only(self) -> Receipt:
        (receipt,) = self.book.receipts()
        return receipt


def _counts(receipt: Receipt) -> tuple[int, int, int, int, int]:
    return (
        receipt.connected,
        receipt.sent,
        receipt.acknowledged,
        receipt.rejected,
        receipt.pending,
    )


async def test_a_change_is_followed_from_the_push_to_the_last_answer() -> None:
    desk = Desk()
    one, two = desk.proxy("one"), desk.proxy("two")
    unconcerned = desk.proxy("three")
    desk.round(7)
    assert (_counts(desk.only()), desk.only().settled) == ((3, 0, 0, 0, 0), False)

    desk.sent(one, (ROUTE, "1"), (CLUSTER, "1"))
    desk.sent(two, (ROUTE, "1"))
    desk.sent(unconcerned)
    assert _counts(desk.only()) == (3, 2, 0, 0, 2)
    await desk.clock.advance(0.25)
    desk.says(one, Acked(CLUSTER, "1", 1))
    assert _counts(desk.only()) == (3, 2, 0, 0, 2)
    desk.says(one, Acked(ROUTE, "1", 1))
    desk.says(two, Acked(ROUTE, "1", 1))

    receipt = desk.only()
    assert _counts(receipt) == (3, 2, 2, 0, 0)
    assert receipt.settled
    assert (receipt.change, list(receipt.causes)) == (7, [CAUSE])
    assert round(receipt.milliseconds) == 250


async def test_a_refusal_is_told_with_text_resources_and_sources() -> None:
    desk = Desk()
    one = desk.proxy("one")
    desk.round(1)
    desk.sent(one, (ROUTE, "1"))
    desk.says(one, Nacked(ROUTE, "1", 1, "bad regex", ("80",), (CAUSE,)))

    receipt = desk.only()
    assert _counts(receipt) == (1, 1, 0, 1, 0)
    assert receipt.settled
    (rejection,) = receipt.rejections
    assert (rejection.proxy, rejection.type_url, rejection.text) == ("one.shop", ROUTE, "bad regex")
    assert (list(rejection.resources), list(rejection.sources)) == (["80"], [CAUSE])


def test_who_leaves_is_not_waited_for() -> None:
    desk = Desk()
    one, two = desk.proxy("one"), desk.proxy("two")
    desk.round(1)
    desk.sent(one, (ROUTE, "1"))
    desk.book.left(one)
    assert _counts(desk.only()) == (2, 1, 0, 0, 0)
    assert not desk.only().settled
    desk.book.left(two)

    assert desk.only().settled
    assert _counts(desk.only()) == (2, 1, 0, 0, 0)


def test_an_agents_stream_for_names_does_not_count_its_proxy_again() -> None:
    desk = Desk()
    desk.proxy("one")
    agent = desk.proxy("one")
    request = DeltaDiscoveryRequest(type_url=NAME_TABLE, resource_names_subscribe=["*"])
    assert isinstance(agent.session, DeltaSession)
    agent.session.on_request(request)

    desk.round(1)

    assert desk.only().connected == 1


def test_without_proxies_a_change_is_settled_at_once() -> None:
    desk = Desk()
    desk.round(1)

    assert desk.only().settled


def test_changes_of_one_round_have_receipts_of_their_own() -> None:
    desk = Desk()
    one = desk.proxy("one")
    desk.round(1, 2)
    desk.sent(one, (ROUTE, "1"))
    desk.says(one, Acked(ROUTE, "1", 1))

    assert [receipt.change for receipt in desk.book.receipts()] == [1, 2]
    assert all(receipt.acknowledged == 1 for receipt in desk.book.receipts())


def test_a_push_that_skips_rounds_answers_for_all_of_them() -> None:
    desk = Desk()
    one = desk.proxy("one")
    desk.round(1)
    desk.round(2)
    desk.sent(one, (ROUTE, "2"))
    desk.says(one, Acked(ROUTE, "2", 2))

    assert [receipt.settled for receipt in desk.book.receipts()] == [True, True]


def test_endpoints_ahead_of_their_configuration_do_not_settle_a_change() -> None:
    desk = Desk()
    one = desk.proxy("one")
    desk.round(1, table=Table.ENDPOINTS)
    desk.sent(one, (ENDPOINT, "1"), whole=False)
    desk.says(one, Acked(ENDPOINT, "1", 1))
    assert not desk.only().settled
    assert _counts(desk.only()) == (1, 1, 0, 0, 1)
    desk.sent(one, (CLUSTER, "1.1"))
    desk.says(one, Acked(CLUSTER, "1.1", 1))

    assert desk.only().settled
    assert _counts(desk.only()) == (1, 1, 1, 0, 0)
    assert list(desk.only().classes[0].types) == sorted([CLUSTER, ENDPOINT])


def test_classes_are_counted_apart() -> None:
    desk = Desk()
    web, api = desk.proxy("w", "shop/web"), desk.proxy("a", "shop/api")
    desk.round(1)
    desk.sent(web, (ROUTE, "1"))
    desk.sent(api, (ROUTE, "1"))
    desk.says(web, Acked(ROUTE, "1", 1))
    desk.says(api, Nacked(ROUTE, "1", 1, "no", (), ()))

    counted = {one.name: (one.sent, one.acknowledged, one.rejected) for one in desk.only().classes}
    assert counted == {"shop/web": (1, 1, 0), "shop/api": (1, 0, 1)}


def test_answers_that_nobody_waits_for_change_nothing() -> None:
    desk = Desk()
    one = desk.proxy("one")
    desk.round(1)
    desk.says(one, Acked(ROUTE, "99", 1))
    desk.says(one, Stale(ROUTE, "98"))
    desk.says(one, Nacked(ROUTE, "97", 1, "no", (), ()))

    assert _counts(desk.only()) == (1, 0, 0, 0, 0)


def test_history_is_bounded() -> None:
    desk = Desk(history=3)
    one = desk.proxy("one")
    for change in range(10):
        desk.round(change)
    desk.sent(one, (ROUTE, "1"))
    desk.says(one, Acked(ROUTE, "1", 10))

    assert [receipt.change for receipt in desk.book.receipts()] == [7, 8, 9]


def test_receipts_can_be_asked_for_by_cause_and_after_a_change() -> None:
    desk = Desk()
    desk.round(1)
    desk.round(2, cause=Ref("Service/shop/db"))

    assert [one.change for one in desk.book.receipts("Service/shop/db")] == [2]
    assert [one.change for one in desk.book.receipts(after=1)] == [2]


async def test_a_follower_sees_each_change_through_to_its_end() -> None:
    desk = Desk()
    one = desk.proxy("one")
    desk.round(1)
    seen: list[tuple[int, int, bool]] = []

    async def follow() -> None:
        async with contextlib.aclosing(desk.book.follow()) as moving:
            async for receipt in moving:
                seen.append((receipt.change, receipt.pending, receipt.settled))  # noqa: PERF401  # it never ends

    async with asyncio.TaskGroup() as group:
        task = group.create_task(follow())
        await settle()
        desk.sent(one, (ROUTE, "1"))
        await settle()
        desk.says(one, Acked(ROUTE, "1", 1))
        await settle()
        task.cancel()

    assert seen == [(1, 0, False), (1, 1, False), (1, 0, True)]
    assert not desk.book._followers
