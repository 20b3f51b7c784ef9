"""Who is reached through gateways, with which weights, and what a change of gateways moves."""

from collections.abc import Mapping
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, structs

from libs.model.endpoint import Endpoint, EndpointSet, Locality
from libs.model.ids import Ref
from libs.model.networks import NetworkGateway, Networks
from libs.model.security import MtlsMode
from libs.model.service import Resolution
from libs.model.traffic import ClientTls, TlsMode, TrafficPolicy
from libs.proxy import networks
from libs.proxy.crossing import NO_CROSSING, Crossing, Entrance, crossing
from libs.proxy.endpoints import of_names
from libs.proxy.scope import EndpointScope, Whereabouts
from libs.proxy.scoper import Scoper
from tests.support.mesh import (
    endpoints,
    host_policy,
    mesh,
    peer_policy,
    proxy,
    row_key,
    service,
)

WEB, API = service("web"), service("api")
CLUSTER = f"outbound|80||{WEB.host}"
API_CLUSTER = f"outbound|80||{API.host}"


def entered(network: str, *places: str, name: str = "", of_service: bool = True) -> Networks:
    """Return a network's gateways, `address` or `address:port`."""
    split = [(place.partition(":")[0], int(place.partition(":")[2] or 15443)) for place in places]
    return Networks(
        ref=Ref(f"Service/istio-system/{name or network}"),
        gateways=tuple(
            NetworkGateway(
                network=network, address=at, port=port, addresses=(at,), of_service=of_service
            )
            for at, port in split
        ),
    )


def of(network: str, *addresses: str, **fields: object) -> tuple[Endpoint, ...]:
    fields = {"mtls": True, "network": network, **fields}
    return endpoints(WEB, *addresses, **fields).endpoints


def scopes(*rows: Struct, network: str = "north", view: str = "") -> Mapping[str, EndpointScope]:
    metadata = {"REQUESTED_NETWORK_VIEW": view} if view else {}
    client = proxy(network=network, metadata=metadata)
    return Scoper().scope(mesh(WEB, *rows), client).endpoints


def places(*rows: Struct, network: str = "north", view: str = "") -> list[tuple[str, int, int]]:
    found = scopes(*rows, network=network, view=view)[CLUSTER]
    return [(it.address, it.port, it.weight) for it in found.endpoints]


HERE, THERE = of("north", "10.0.0.1"), of("south", "10.1.0.1", "10.1.0.2")
BOTH = EndpointSet(key=WEB.key, endpoints=(*HERE, *THERE))
DIRECT = [("10.0.0.1", 80, 1), ("10.1.0.1", 80, 1), ("10.1.0.2", 80, 1)]


def test_endpoints_of_another_network_are_behind_its_gateway() -> None:
    assert places(BOTH, entered("south", "192.0.2.1")) == [
        ("10.0.0.1", 80, 1),
        ("192.0.2.1", 15443, 2),
    ]


@pytest.mark.parametrize("network", ["north", ""])
@pytest.mark.parametrize("rows", [(), (entered("east", "192.0.2.1"),)])
def test_without_a_known_way_they_are_reached_directly(
    rows: tuple[Networks, ...], network: str
) -> None:
    assert places(BOTH, *rows, network=network) == DIRECT


def test_who_is_in_no_known_network_is_outside_of_all() -> None:
    assert places(BOTH, entered("south", "192.0.2.1"), network="") == [
        ("10.0.0.1", 80, 1),
        ("192.0.2.1", 15443, 2),
    ]


def test_those_in_no_network_are_reached_directly() -> None:
    row = EndpointSet(key=WEB.key, endpoints=(*of("", "10.9.0.1"), *THERE))
    found = places(row, entered("south", "192.0.2.1"))
    assert found == [("10.9.0.1", 80, 1), ("192.0.2.1", 15443, 2)]


def test_the_client_of_the_other_side_goes_the_other_way() -> None:
    ways = (entered("south", "192.0.2.1"), entered("north", "192.0.2.2"))
    assert places(BOTH, *ways, network="south") == [
        ("10.1.0.1", 80, 1),
        ("10.1.0.2", 80, 1),
        ("192.0.2.2", 15443, 1),
    ]


def test_weights_are_whole_numbers_that_all_networks_scale_alike() -> None:
    far = (*THERE, *of("east", "10.2.0.1"))
    row = EndpointSet(key=WEB.key, endpoints=(*HERE, *far))
    ways = (entered("south", "192.0.2.1", "192.0.2.2"), entered("east", "a.1", "a.2", "a.3"))
    assert places(row, *ways) == [
        ("10.0.0.1", 80, 6),
        ("192.0.2.1", 15443, 6),
        ("192.0.2.2", 15443, 6),
        ("a.1", 15443, 2),
        ("a.2", 15443, 2),
        ("a.3", 15443, 2),
    ]


def test_a_cluster_that_needs_no_gateway_keeps_its_weights() -> None:
    row = EndpointSet(key=WEB.key, endpoints=HERE)
    assert places(row, entered("south", "192.0.2.1", "192.0.2.2")) == [("10.0.0.1", 80, 1)]


def test_weights_stay_within_32_bits() -> None:
    row = EndpointSet(key=WEB.key, endpoints=of("south", "10.1.0.1", "10.1.0.2", weight=2**31))
    (gateway,) = scopes(row, entered("south", "192.0.2.1"))[CLUSTER].endpoints
    assert gateway.weight == 2**32 - 1


def test_localities_stay_apart() -> None:
    near = of("south", "10.1.0.1", locality=Locality("r1"))
    far = of("south", "10.1.0.2", "10.1.0.3", locality=Locality("r2"))
    row = EndpointSet(key=WEB.key, endpoints=(*near, *far))
    found = scopes(row, entered("south", "192.0.2.1"))[CLUSTER].endpoints
    assert {it.locality.region: it.weight for it in found} == {"r1": 1, "r2": 2}


def test_without_mesh_tls_nobody_gets_through_a_gateway() -> None:
    way = entered("south", "192.0.2.1")
    plain = EndpointSet(key=WEB.key, endpoints=(*HERE, *of("south", "10.1.0.1", mtls=False)))
    near = [("10.0.0.1", 80, 1)]
    assert places(plain, way) == near
    off = host_policy("p", WEB.host, policy=TrafficPolicy(tls=ClientTls(mode=TlsMode.DISABLE)))
    assert places(BOTH, way, off) == near
    assert places(BOTH, way, peer_policy("p", mode=MtlsMode.DISABLE)) == near


def test_a_policy_that_wants_mesh_tls_goes_through_gateways_whatever_the_endpoints_want() -> None:
    way, forbidden = entered("south", "192.0.2.1"), peer_policy("p", mode=MtlsMode.DISABLE)
    mutual = TrafficPolicy(tls=ClientTls(mode=TlsMode.ISTIO_MUTUAL))
    wanted = host_policy("p", WEB.host, policy=mutual)
    assert places(BOTH, way, forbidden) == [("10.0.0.1", 80, 1)]
    assert places(BOTH, way, forbidden, wanted) == [("10.0.0.1", 80, 1), ("192.0.2.1", 15443, 2)]
    unlabelled = EndpointSet(key=WEB.key, endpoints=of("south", "10.1.0.1", mtls=False))
    assert places(unlabelled, way, wanted) == [], "nobody there would end it"


def test_services_of_the_cluster_come_before_what_is_only_written() -> None:
    written = entered("south", "198.51.100.1", name="istio", of_service=False)
    assert places(BOTH, written)[-1] == ("198.51.100.1", 15443, 2)
    known = entered("south", "192.0.2.1")
    # Scaled by how many there are of both sorts, as with Istio.
    assert places(BOTH, written, known) == [("10.0.0.1", 80, 2), ("192.0.2.1", 15443, 4)]


def test_a_gateway_is_counted_once_however_often_it_is_declared() -> None:
    twice = (entered("south", "192.0.2.1"), entered("south", "192.0.2.1", name="again"))
    assert places(BOTH, *twice) == [("10.0.0.1", 80, 1), ("192.0.2.1", 15443, 2)]
    refs = scopes(BOTH, *twice)[CLUSTER].refs
    assert {"Service/istio-system/south", "Service/istio-system/again"} <= set(refs)


def test_sources_are_those_of_the_gateways_that_are_there() -> None:
    found = scopes(BOTH, entered("south", "192.0.2.1"), entered("east", "192.0.2.2"))
    assert "Service/istio-system/south" in found[CLUSTER].refs
    assert "Service/istio-system/east" not in found[CLUSTER].refs


def test_who_wants_to_see_some_networks_sees_no_others() -> None:
    far = (*THERE, *of("east", "10.2.0.1"), *of("", "10.9.0.1"))
    row = EndpointSet(key=WEB.key, endpoints=(*HERE, *far))
    assert places(row, view="north, east") == [
        ("10.0.0.1", 80, 1),
        ("10.2.0.1", 80, 1),
        ("10.9.0.1", 80, 1),
    ]


def test_an_endpoint_without_address_is_there_only_behind_a_gateway() -> None:
    row = EndpointSet(key=WEB.key, endpoints=(*HERE, *of("south", "", weight=3)))
    assert places(row) == [("10.0.0.1", 80, 1)]
    way = entered("south", "192.0.2.1")
    assert places(row, way) == [("10.0.0.1", 80, 1), ("192.0.2.1", 15443, 3)]
    assert places(row, way, network="south") == [("10.0.0.1", 80, 1)]


def test_clients_that_networks_do_not_concern_share_one_scope() -> None:
    rows = mesh(WEB, API, endpoints(API, "10.0.0.9"), BOTH, entered("south", "192.0.2.1"))
    scoper = Scoper()
    first = scoper.scope(rows, proxy(network="north")).endpoints
    second = scoper.scope(rows, proxy("other", network="south")).endpoints
    assert first[API_CLUSTER] is second[API_CLUSTER]
    assert first[CLUSTER] is not second[CLUSTER]


def test_a_moved_gateway_moves_those_that_it_stands_for_and_no_others() -> None:
    other = EndpointSet(key=API.key, endpoints=of("east", "10.2.0.1"))
    ways = (entered("south", "192.0.2.1"), entered("east", "192.0.2.9"))
    before = mesh(WEB, API, BOTH, other, *ways)
    after = mesh(entered("south", "192.0.2.2"), before=before)
    scoper, client = Scoper(), proxy(network="north")
    old = scoper.scope(before, client)
    new = scoper.scope(after, client)
    assert [it.address for it in new.endpoints[CLUSTER].endpoints] == ["10.0.0.1", "192.0.2.2"]
    assert new.endpoints[API_CLUSTER] is old.endpoints[API_CLUSTER]
    assert new.outbound is old.outbound
    unrelated = mesh(entered("west", "192.0.2.7"), before=after)
    assert scoper.scope(unrelated, client).endpoints is new.endpoints


def test_the_first_gateway_and_the_last_one_move_what_they_should() -> None:
    bare = mesh(WEB, BOTH)
    way = entered("south", "192.0.2.1")
    known = mesh(way, before=bare)
    gone = known.evolve([(row_key(way), None)])
    scoper, client = Scoper(), proxy(network="north")
    found = [
        [it.address for it in scoper.scope(rows, client).endpoints[CLUSTER].endpoints]
        for rows in (bare, known, gone)
    ]
    direct = ["10.0.0.1", "10.1.0.1", "10.1.0.2"]
    assert found == [direct, ["10.0.0.1", "192.0.2.1"], direct]


NETWORK = st.sampled_from(["", "north", "south", "east"])
ENDPOINT = st.builds(
    Endpoint,
    address=st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3", ""]),
    port=st.just(80),
    port_name=st.just("http"),
    mtls=st.booleans(),
    network=NETWORK,
    weight=st.integers(1, 9),
    locality=st.sampled_from([Locality(), Locality("r")]),
)
WAYS = st.lists(
    st.builds(
        entered,
        st.sampled_from(["south", "east"]),
        st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.3:443"]),
        name=st.sampled_from(["a", "b"]),
        of_service=st.booleans(),
    ),
    max_size=4,
)


def by_network(found: tuple[Endpoint, ...]) -> dict[tuple[str, Locality], int]:
    totals: dict[tuple[str, Locality], int] = {}
    for one in found:
        key = (one.network, one.locality)
        totals[key] = totals.get(key, 0) + one.weight
    return totals


@given(st.lists(ENDPOINT, max_size=8), WAYS, NETWORK, st.randoms())
def test_weights_are_kept_and_order_does_not_matter(
    some: list[Endpoint], rows: list[Networks], network: str, random: Random
) -> None:
    ways = crossing(rows)
    client = Whereabouts(network=network)
    found = networks.reached(some, client, ways, lambda it: it.mtls)
    far = [it for it in some if networks.is_far(it, client, ways)]
    scale = ways.scale if far else 1
    counted = [it for it in some if (it.mtls if it in far else it.address)]
    wanted = {key: scale * weight for key, weight in by_network(tuple(counted)).items()}
    assert by_network(found) == wanted
    assert all(it.address for it in found)
    shuffled_rows, shuffled = list(rows), list(some)
    random.shuffle(shuffled_rows)
    random.shuffle(shuffled)
    assert crossing(shuffled_rows) == ways
    again = networks.reached(shuffled, client, ways, lambda it: it.mtls)
    assert sorted(again, key=repr) == sorted(found, key=repr)


def test_names_are_ways_only_for_those_that_resolve_them() -> None:
    gateway = NetworkGateway(network="south", address="gw.example.com", port=15443)
    row = Networks(ref=Ref("x"), gateways=(gateway,))
    assert crossing([row]) == NO_CROSSING
    assert crossing([row], names=True).entrances == {"south": (Entrance("gw.example.com", 15443),)}
    found = structs.replace(gateway, addresses=("192.0.2.1", "192.0.2.2"))
    resolved = crossing([structs.replace(row, gateways=(found,))])
    assert resolved == Crossing(
        2,
        {"south": (Entrance("192.0.2.1", 15443), Entrance("192.0.2.2", 15443))},
        {"south": (Ref("x"),)},
    )


@pytest.mark.parametrize("network", ["south", "north", ""])
def test_names_are_behind_gateways_of_others_networks_only(network: str) -> None:
    named = service("far", resolution=Resolution.DNS)
    row = endpoints(named, "far.example.com", network="south", mtls=True)
    seen = mesh(named, row, entered("south", "gw.example.com"))
    outbound = Scoper().scope(seen, proxy(network=network)).outbound
    (scoped,) = outbound.services
    found = of_names(outbound, scoped, named.ports[0], scoped.subsets[0]).endpoints
    expected = "far.example.com" if network == "south" else "gw.example.com"
    assert [it.address for it in found] == [expected]
