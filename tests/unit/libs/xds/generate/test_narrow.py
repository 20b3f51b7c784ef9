from msgspec import Struct

from libs.model.service import Protocol
from libs.model.traffic import (
    ConnectionPool,
    ConsistentHash,
    Destination,
    HttpRoute,
    LoadBalancing,
    StreamRoute,
    TrafficPolicy,
    WeightedDestination,
)
from libs.proxy.node import ProxyType
from libs.proxy.scope import OutboundScope
from libs.proxy.scoper import Scoper
from libs.xds.generate import narrow
from tests.support.mesh import host_policy, mesh, port, proxy, routing, service

WEB, DB = service("web"), service("db", port(5432, Protocol.TCP))
TO_WEB = (WeightedDestination(Destination(WEB.host)),)
POOL = TrafficPolicy(connection_pool=ConnectionPool(max_connections=1))
LASTING = TrafficPolicy(connection_pool=ConnectionPool(tcp_idle_timeout=1_000))
HASH = TrafficPolicy(load_balancing=LoadBalancing(consistent_hash=ConsistentHash(header="x")))
REQUESTS = routing("r", WEB.host, http=(HttpRoute(destinations=TO_WEB),))
STREAMS = routing("r", DB.host, tcp=(StreamRoute((), TO_WEB),))
POLICY = host_policy("p", WEB.host)


BEFORE = mesh(WEB, DB)
SCOPER = Scoper()


def outbound(*rows: Struct, **client: object) -> OutboundScope:
    return SCOPER.scope(mesh(*rows, before=BEFORE), proxy(**client)).outbound  # type: ignore[arg-type]


def test_scopes_that_differ_elsewhere_are_the_same_object() -> None:
    now = mesh(WEB, before=BEFORE)
    one, two = (SCOPER.scope(now, proxy(namespace=of)).outbound for of in ("shop", "elsewhere"))
    assert one is not two
    assert narrow.for_clusters(one) is narrow.for_clusters(two)
    assert narrow.for_listeners(one) is not narrow.for_routes(one)


def test_routes_know_of_policies_by_what_requests_are_hashed_and_no_more() -> None:
    said = narrow.for_routes(outbound(POLICY))
    pooled = narrow.for_routes(outbound(host_policy("p", WEB.host, policy=POOL)))
    hashed = narrow.for_routes(outbound(host_policy("p", WEB.host, policy=HASH)))
    assert pooled is said
    assert hashed is not said


def test_listeners_know_policies_only_where_there_can_be_tcp() -> None:
    said = narrow.for_listeners(outbound())
    assert narrow.for_listeners(outbound(host_policy("p", WEB.host, policy=LASTING))) is said
    assert narrow.for_listeners(outbound(host_policy("p", DB.host, policy=LASTING))) is not said
    led = narrow.for_listeners(outbound(STREAMS))
    lasting = outbound(STREAMS, host_policy("p", WEB.host, policy=LASTING))
    assert narrow.for_listeners(lasting) is not led


def test_listeners_know_of_policies_what_tcp_proxies_obey_and_where_it_came_from() -> None:
    said = narrow.for_listeners(outbound())
    for policy in (POOL, HASH):
        assert narrow.for_listeners(outbound(host_policy("p", DB.host, policy=policy))) is said
    lasting = host_policy("p", DB.host, policy=LASTING)
    sources = {
        service.service.host: service.policy_refs
        for service in narrow.for_listeners(outbound(lasting)).services
    }
    assert sources == {WEB.host: (), DB.host: (lasting.ref,)}


def test_routings_of_requests_are_no_listeners_business_and_those_of_connections_no_routes() -> (
    None
):
    assert narrow.for_listeners(outbound(REQUESTS)) is narrow.for_listeners(outbound())
    assert narrow.for_routes(outbound(STREAMS)).routings[0].tcp == ()


def test_which_hosts_there_are_does_not_depend_on_where_routings_lead() -> None:
    elsewhere = routing("r", WEB.host, http=(HttpRoute(timeout=5),))
    routes = [narrow.for_routes(outbound(*rows)) for rows in ((REQUESTS,), (elsewhere,), ())]
    first, second, without = map(narrow.for_hosts, routes)
    assert first is second
    assert without is not first


def test_routers_get_everything() -> None:
    one = outbound(type=ProxyType.ROUTER)
    assert narrow.for_clusters(one) is one
    assert narrow.for_routes(one) is one


def test_narrowing_twice_changes_nothing() -> None:
    one = outbound(STREAMS, POLICY)
    for narrowing in (narrow.for_clusters, narrow.for_routes, narrow.for_listeners):
        assert narrowing(narrowing(one)) is narrowing(one)
