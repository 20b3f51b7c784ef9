from collections.abc import Iterable

import pytest
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from msgspec import Struct

from libs.model.service import Protocol, Resolution, Service
from libs.model.settings import MeshSettings
from libs.model.sidecar import EgressListener, HostPattern, ListenerPort
from libs.model.traffic import (
    ConnectionPool,
    Destination,
    StreamMatch,
    StreamRoute,
    TrafficPolicy,
    WeightedDestination,
)
from libs.proxy.node import Interception, ProxyType
from libs.xds.generate import listener_set
from libs.xds.generate.outbound_plan import Conflict, conflicts
from libs.xds.types import LISTENER
from tests.support.mesh import endpoints, host_policy, port, routing, service, sidecar
from tests.support.scopes import listeners, resources, scope

WEB = service("web")
DB = service("db", port(5432, Protocol.TCP), addresses=("10.96.0.1",))
EXPLICIT = {"interception": Interception.NONE, "outbound_address": "127.0.0.9"}


def leads_to(chain: FilterChain) -> str:
    """Return the cluster of a chain, or the name of its routes with a slash in front."""
    proxy, manager = TcpProxy(), hcm.HttpConnectionManager()
    last = chain.filters[-1].typed_config
    if last.Unpack(manager):
        return f"/{manager.rds.route_config_name}"
    last.Unpack(proxy)
    shares = proxy.weighted_clusters.clusters
    return proxy.cluster or ",".join(f"{share.name}={share.weight}" for share in shares)


def outline(listener: Listener) -> list[str]:
    chains: Iterable[FilterChain] = listener.filter_chains
    found = [leads_to(chain) for chain in chains]
    if listener.HasField("default_filter_chain"):
        found.append(f"else {leads_to(listener.default_filter_chain)}")
    return found


def outlines(*rows: Struct, **client: object) -> dict[str, list[str]]:
    found = listeners(*rows, **client)
    return {name: outline(one) for name, one in found.items() if not name.startswith("virtual")}


def tcp(name: str, address: str = "10.96.0.1", number: int = 5432, **fields: object) -> Service:
    return service(name, port(number, Protocol.TCP), addresses=(address,), **fields)


def to(host: str) -> str:
    return f"outbound|5432||{host}"


def test_http_services_of_a_port_share_a_listener_and_others_have_their_own() -> None:
    assert outlines(WEB, service("too"), DB) == {
        "0.0.0.0_80": ["/80", "else PassthroughCluster"],
        "10.96.0.1_5432": [to(DB.host)],
    }


def test_nothing_is_bound_with_interception() -> None:
    found = listeners(WEB, DB)
    assert not found["0.0.0.0_80"].bind_to_port.value
    assert found["0.0.0.0_80"].HasField("bind_to_port")
    virtual = found["virtualOutbound"]
    assert not virtual.HasField("bind_to_port")
    assert virtual.use_original_dst.value
    assert not virtual.transparent.value
    assert listeners(WEB, interception=Interception.TPROXY)["virtualOutbound"].transparent.value


@pytest.mark.parametrize(
    ("allowed", "expected"), [(True, "PassthroughCluster"), (False, "BlackHoleCluster")]
)
def test_what_nobody_is_known_for(allowed: bool, expected: str) -> None:
    found = listeners(WEB, MeshSettings(allow_any_outbound=allowed))
    assert outline(found["virtualOutbound"]) == ["BlackHoleCluster", expected]
    names = [chain.name for chain in found["virtualOutbound"].filter_chains]
    assert names == ["virtualOutbound-blackhole", "virtualOutbound-catchall-tcp"]
    assert found["0.0.0.0_80"].default_filter_chain.name == "PassthroughFilterChain"
    assert leads_to(found["0.0.0.0_80"].default_filter_chain) == expected


def test_first_bytes_are_looked_at_only_where_they_decide() -> None:
    found = listeners(WEB, DB, tcp("tls", "10.96.0.9"), tls_service())
    assert [one.name for one in found["0.0.0.0_80"].listener_filters] == [
        "envoy.filters.listener.http_inspector"
    ]
    assert not found["10.96.0.1_5432"].listener_filters
    assert [one.name for one in found["0.0.0.0_443"].listener_filters] == [
        "envoy.filters.listener.tls_inspector"
    ]


def tls_service() -> Service:
    return service(
        "secure",
        port(443, Protocol.TLS),
        host="secure.example.com",
        addresses=(),
        registry="External",
    )


def test_without_an_address_tls_is_told_apart_by_name() -> None:
    (chain,) = listeners(tls_service())["0.0.0.0_443"].filter_chains
    assert list(chain.filter_chain_match.server_names) == ["secure.example.com"]


def test_a_port_of_unknown_protocol_has_both_chains() -> None:
    guess = service("guess", port(70, Protocol.AUTO), addresses=("10.96.0.7",))
    assert outlines(guess) == {
        "10.96.0.7_70": [f"/{guess.host}:70", f"else outbound|70||{guess.host}"]
    }


def test_tcp_and_http_on_one_port_share_the_wildcard_if_they_must() -> None:
    everywhere = service(
        "everywhere", port(80, Protocol.TCP), addresses=(), registry="External", created=1
    )
    assert outlines(WEB, everywhere) == {
        "0.0.0.0_80": ["/80", f"else outbound|80||{everywhere.host}"]
    }


PODS = service("pods", port(5432, Protocol.TCP), resolution=Resolution.ORIGINAL)


def test_pods_are_dialled_one_by_one_but_never_by_themselves() -> None:
    rows = (PODS, endpoints(PODS, "10.0.0.1", "10.0.0.2"))
    assert set(outlines(*rows)) == {"10.0.0.1_5432", "10.0.0.2_5432"}
    assert set(outlines(*rows, addresses=("10.0.0.1",))) == {"10.0.0.2_5432"}
    assert outlines(PODS) == {}


def test_the_oldest_service_keeps_an_address_and_the_others_are_told() -> None:
    older, newer = tcp("b", created=1), tcp("a", created=2)
    assert outlines(older, newer) == {"10.96.0.1_5432": [to(older.host)]}
    assert conflicts(scope(newer, older).outbound) == (
        Conflict("10.96.0.1_5432", older.ref, newer.ref, "TCP over TCP"),
    )


def test_a_set_of_listeners_says_who_has_none() -> None:
    older, newer = tcp("b", created=1), tcp("a", created=2)
    (conflict,) = listener_set(scope(newer, older)).conflicts
    assert (conflict.kept, conflict.lost) == (older.ref, newer.ref)
    assert listener_set(scope(older)).conflicts == ()


def test_equally_old_services_go_by_host() -> None:
    assert outlines(tcp("b"), tcp("a")) == {"10.96.0.1_5432": [to(tcp("a").host)]}


def test_a_server_that_speaks_first_shares_its_port_with_nobody() -> None:
    mysql = service("my", port(3306, Protocol.MYSQL), addresses=("10.96.0.1",), created=1)
    guess = service("guess", port(3306, Protocol.AUTO), addresses=("10.96.0.1",), created=2)
    assert outlines(mysql, guess) == {"10.96.0.1_3306": [f"outbound|3306||{mysql.host}"]}
    (conflict,) = conflicts(scope(mysql, guess).outbound)
    assert conflict.lost == guess.ref


@pytest.mark.parametrize("number", [15001, 15006, 15021, 15090])
def test_no_service_takes_a_port_of_the_proxy(number: int) -> None:
    greedy = service("greedy", port(number))
    assert outlines(WEB, greedy).keys() == {"0.0.0.0_80"}
    assert outlines(WEB, greedy, **EXPLICIT).keys() == {"127.0.0.9_80"}
    (conflict,) = conflicts(scope(WEB, greedy).outbound)
    assert (conflict.kept, conflict.lost) == ("", greedy.ref)
    assert f"10.96.0.1_{number}" in outlines(tcp("apart", number=number))


def test_a_sidecars_http_proxy_gives_way_to_the_one_of_the_proxy_itself() -> None:
    asked = EgressListener(
        hosts=(HostPattern("*", "*"),),
        port=ListenerPort(15007, Protocol.HTTP),
        http_proxy=True,
    )
    rows = (WEB, sidecar("s", egress=(asked,)))
    client = {**EXPLICIT, "http_proxy_port": 15007}
    assert outlines(*rows, **client) == {"127.0.0.9_15007": ["/http_proxy"]}
    (lost,) = conflicts(scope(*rows, **client).outbound)
    assert (lost.listener, lost.lost) == ("127.0.0.9_15007", "Sidecar/shop/s")


def test_a_service_at_the_port_of_a_sidecars_http_proxy_is_asked_for_there() -> None:
    asked = EgressListener(
        hosts=(HostPattern("*", "*"),), port=ListenerPort(3128, Protocol.HTTP), http_proxy=True
    )
    rest = EgressListener(hosts=(HostPattern("*", "*"),))
    rows = (tcp("squid", number=3128), sidecar("s", egress=(asked, rest)))
    assert outlines(*rows, **EXPLICIT) == {"127.0.0.9_3128": ["/3128"]}


def test_no_service_takes_the_port_of_the_http_proxy() -> None:
    greedy = service("greedy", port(15007))
    found = outlines(greedy, **EXPLICIT, http_proxy_port=15007)
    assert found == {"127.0.0.9_15007": ["/http_proxy"]}


def test_blocks_of_addresses_are_told_apart_on_the_wildcard() -> None:
    one = tcp("one", "10.1.0.0/16", registry="External")
    two = tcp("two", "10.2.0.0/16", registry="External")
    found = listeners(one, two)["0.0.0.0_5432"]
    ranges = [chain.filter_chain_match.prefix_ranges[0] for chain in found.filter_chains]
    assert [one.address_prefix for one in ranges] == ["10.1.0.0", "10.2.0.0"]


def destination(host: str, weight: int = 0) -> WeightedDestination:
    return WeightedDestination(Destination(host), weight)


def stream(*matches: StreamMatch, to: tuple[WeightedDestination, ...]) -> StreamRoute:
    return StreamRoute(matches, to)


OTHER = tcp("other", "10.96.0.2")


def test_connections_are_routed() -> None:
    shares = (destination(DB.host, 3), destination(OTHER.host, 1))
    rule = routing("r", DB.host, tcp=(stream(to=shares),))
    assert outlines(DB, OTHER, rule)["10.96.0.1_5432"] == [f"{to(DB.host)}=3,{to(OTHER.host)}=1"]
    assert outlines(DB, OTHER, rule)["10.96.0.2_5432"] == [to(OTHER.host)]


def test_what_a_routing_does_not_match_goes_to_the_service() -> None:
    block = StreamMatch(destination_subnets=("10.96.0.1/32",))
    rule = routing("r", DB.host, tcp=(stream(block, to=(destination(OTHER.host),)),))
    assert outlines(DB, OTHER, rule)["10.96.0.1_5432"] == [to(OTHER.host), f"else {to(DB.host)}"]
    elsewhere = StreamMatch(port=9)
    rule = routing("r", DB.host, tcp=(stream(elsewhere, to=(destination(OTHER.host),)),))
    assert outlines(DB, OTHER, rule)["10.96.0.1_5432"] == [to(DB.host)]


def test_a_route_of_zero_shares_is_no_route() -> None:
    nothing = (destination(DB.host, 0), destination(OTHER.host, 0))
    rule = routing("r", DB.host, tcp=(stream(to=nothing),))
    assert outlines(DB, OTHER, rule)["10.96.0.1_5432"] == [to(DB.host)]


def test_two_shares_of_one_service_are_one_share() -> None:
    shares = (destination(DB.host, 3), destination(OTHER.host, 1), destination(DB.host, 2))
    rule = routing("r", DB.host, tcp=(stream(to=shares),))
    assert outlines(DB, OTHER, rule)["10.96.0.1_5432"] == [f"{to(DB.host)}=5,{to(OTHER.host)}=1"]


def test_tls_is_routed_by_name_and_no_name_twice() -> None:
    secure = service("secure", port(443, Protocol.TLS), addresses=("10.96.0.3",))
    match = StreamMatch(sni_hosts=("b.example.com", "a.example.com"))
    rules = routing(
        "r",
        secure.host,
        tls=(
            stream(match, to=(destination(secure.host),)),
            stream(match, to=(destination(OTHER.host),)),
        ),
    )
    found = listeners(secure, OTHER, rules)["10.96.0.3_443"]
    (chain,) = found.filter_chains
    assert list(chain.filter_chain_match.server_names) == ["a.example.com", "b.example.com"]
    assert leads_to(chain) == f"outbound|443||{secure.host}"


def test_a_chain_says_which_routing_asked_for_it() -> None:
    rule = routing("r", DB.host, tcp=(stream(to=(destination(DB.host),)),))
    (chain,) = listeners(DB, rule)["10.96.0.1_5432"].filter_chains
    path = "/apis/networking.istio.io/v1/namespaces/shop/virtual-service/r"
    assert chain.metadata.filter_metadata["istio"].fields["config"].string_value == path
    sources = resources(LISTENER, DB, rule)["10.96.0.1_5432"].sources
    assert sources == ("Service/shop/db", "VirtualService/shop/r")


def test_connections_end_when_the_pool_says() -> None:
    pool = TrafficPolicy(
        connection_pool=ConnectionPool(tcp_idle_timeout=5_000, max_connection_duration=9_000)
    )
    found = listeners(DB, host_policy("p", DB.host, policy=pool))["10.96.0.1_5432"]
    proxy = TcpProxy()
    found.filter_chains[0].filters[-1].typed_config.Unpack(proxy)
    assert proxy.idle_timeout.ToSeconds() == 5
    assert proxy.max_downstream_connection_duration.ToSeconds() == 9


def test_an_explicit_proxy_binds_its_own_address() -> None:
    older, newer = tcp("b", created=1), tcp("a", "10.96.0.2", created=2)
    rows = (WEB, older, newer)
    assert outlines(*rows, **EXPLICIT, http_proxy_port=15007) == {
        "127.0.0.9_80": ["/80"],
        "127.0.0.9_5432": [to(older.host)],
        "127.0.0.9_15007": ["/http_proxy"],
    }
    found = listeners(*rows, **EXPLICIT)
    assert "virtualOutbound" not in found
    assert not found["127.0.0.9_80"].HasField("bind_to_port")


def test_what_people_declare_shares_an_explicit_proxys_address_by_name() -> None:
    other = service("o", port(443, Protocol.TLS), host="other.example.com", registry="External")
    chains = listeners(tls_service(), other, **EXPLICIT)["127.0.0.9_443"].filter_chains
    names = {name for chain in chains for name in chain.filter_chain_match.server_names}
    assert names == {"secure.example.com", "other.example.com"}


def test_an_unprivileged_explicit_proxy_leaves_low_ports() -> None:
    rows = (WEB, DB)
    assert set(outlines(*rows, **EXPLICIT, unprivileged=True)) == {"127.0.0.9_5432"}


def test_a_router_listens_for_gateways_only() -> None:
    assert listeners(WEB, type=ProxyType.ROUTER) == {}


def notes_messages(listener: Listener) -> bool:
    """Tell whether the messages of gRPC are counted in the first chain."""
    manager = hcm.HttpConnectionManager()
    assert listener.filter_chains[0].filters[-1].typed_config.Unpack(manager)
    filters = "istio.grpc_messages" in {one.name for one in manager.http_filters}
    counted = b"messages_total" in b"".join(log.typed_config.value for log in manager.access_log)
    assert filters == counted
    return filters


@pytest.mark.parametrize(
    ("protocols", "counted"),
    [
        ([Protocol.HTTP], False),
        ([Protocol.HTTP, Protocol.HTTP], False),
        ([Protocol.HTTP, Protocol.TCP], False),
        ([Protocol.HTTP, Protocol.AUTO], False),  # that has a listener of its own
        ([Protocol.HTTP, Protocol.GRPC], True),
        ([Protocol.HTTP2], True),
        ([Protocol.HTTP, Protocol.GRPC_WEB], True),
    ],
)
def test_callers_of_http1_pay_nothing_for_messages(
    protocols: list[Protocol], *, counted: bool
) -> None:
    rows = [
        service(f"s{number}", port(80, protocol), addresses=(f"10.96.0.{number + 1}",))
        for number, protocol in enumerate(protocols)
    ]
    assert notes_messages(listeners(*rows)["0.0.0.0_80"]) is counted


def test_a_port_that_may_speak_anything_and_an_http_proxy_count_messages() -> None:
    auto = service("auto", port(80, Protocol.AUTO), addresses=("10.96.0.1",))
    found = listeners(WEB, auto, http_proxy_port=15080)
    assert notes_messages(found["10.96.0.1_80"])
    assert notes_messages(found["127.0.0.1_15080"])
    assert not notes_messages(found["0.0.0.0_80"])
