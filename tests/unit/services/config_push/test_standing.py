"""Whom a resource concerns, and how they stand."""

import gc
import weakref

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from libs.model.ids import Ref
from libs.protos.receipts.v1.receipts_pb2 import RefStanding
from libs.xds.stream.delta import DeltaSession
from libs.xds.stream.responses import Responses
from libs.xds.types import CLUSTER, NAME_TABLE, ResourceSet, Snapshot, resource, resource_set
from services.config_push.connection import Connection, Offer, Peer
from services.config_push.connections import Connections
from services.config_push.standing import Concerns, standing
from tests.support.clock import VirtualClock
from tests.support.push_plane import identity, node

A, B, NOBODYS = Ref("DestinationRule/shop/a"), Ref("VirtualService/shop/b"), Ref("Sidecar/x/y")


def clusters(*sources: Ref) -> ResourceSet:
    made = [
        resource(f"c{number}", CLUSTER, body=b"x", sources=[it])
        for number, it in enumerate(sources)
    ]
    return resource_set(CLUSTER, made)


class Desk:
    def __init__(self) -> None:
        self.connections = Connections()
        self.concerns = Concerns()

    def proxy(self, name: str, sets: ResourceSet) -> Connection:
        made = node(name)
        peer = Peer(identity(), "", node_id=made.id, metadata={})
        session = DeltaSession(Responses())
        number = self.connections.next_number()
        connection = Connection(number, peer, session, clock=VirtualClock())
        snapshot = Snapshot({CLUSTER: sets})
        connection.offered = Offer(snapshot, 1, whole=True, since=0.0, class_name="c", digest="d")
        session.on_snapshot(snapshot, 1)
        session.on_request(DeltaDiscoveryRequest(type_url=CLUSTER))
        self.connections.add(connection)
        return connection

    def of(self, *refs: Ref) -> dict[str, RefStanding]:
        return {it.ref: it for it in self.concerns.standings(self.connections, refs)}


def answer(connection: Connection, error: str = "") -> None:
    request = DeltaDiscoveryRequest(type_url=CLUSTER, response_nonce="1")
    if error:
        request.error_detail.message = error
    assert isinstance(connection.session, DeltaSession)
    connection.session.on_request(request)


def test_a_resource_concerns_those_who_were_offered_what_came_from_it() -> None:
    desk = Desk()
    both, one = clusters(A, B), clusters(A)
    proxies = [desk.proxy("p1", both), desk.proxy("p2", both), desk.proxy("p3", one)]
    answer(proxies[0])
    found = desk.of(A, B, NOBODYS)
    assert found.keys() == {A, B}
    assert (found[A].concerned, found[A].synced) == (3, 1)
    assert (found[B].concerned, found[B].synced) == (2, 1)
    answer(proxies[2])
    assert desk.of(A)[A].synced == 2


def test_who_refuses_what_another_is_to_blame_for_has_the_rest() -> None:
    desk = Desk()
    proxy = desk.proxy("p1", clusters(A, B))
    answer(proxy, "c1 is bad")
    found = desk.of(A, B)
    assert (found[A].synced, found[A].rejecting) == (1, 0)
    assert (found[B].synced, found[B].rejecting) == (0, 1)
    assert [(it.proxy, it.text) for it in found[B].rejections] == [("p1.shop", "c1 is bad")]


def test_a_refusal_without_a_culprit_proves_nothing_of_anybody() -> None:
    desk = Desk()
    answer(desk.proxy("p1", clusters(A, B)), "no")
    assert [(it.concerned, it.synced, it.rejecting) for it in desk.of(A, B).values()] == [
        (1, 0, 0)
    ] * 2


def test_streams_of_agents_are_no_proxies() -> None:
    desk = Desk()
    agent = desk.proxy("p1", clusters(A))
    agent.session = DeltaSession(Responses())
    agent.session.on_request(DeltaDiscoveryRequest(type_url=NAME_TABLE))
    assert not desk.of(A)
    assert standing(desk.connections, 0.0).connected == 0


def test_a_proxy_that_came_and_went_is_noticed() -> None:
    desk = Desk()
    first = desk.proxy("p1", clusters(A))
    before = standing(desk.connections, 0.0)
    desk.connections.remove(first)
    desk.proxy("p2", clusters(A))
    after = standing(desk.connections, 0.0)
    assert (before.connected, after.connected) == (1, 1)
    assert after.joined > before.joined


def test_what_nobody_has_any_more_is_not_kept() -> None:
    desk = Desk()
    sets = clusters(A)
    gone = weakref.ref(sets)
    connection = desk.proxy("p1", sets)
    assert desk.of(A)
    desk.connections.remove(connection)
    del connection, sets
    gc.collect()
    assert gone() is None
    assert not desk.of(A)
