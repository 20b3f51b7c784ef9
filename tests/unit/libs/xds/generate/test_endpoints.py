from libs.model.endpoint import Endpoint, EndpointSet, Health, Locality
from libs.model.ids import ServiceKey
from libs.model.traffic import LocalityBalancing, LocalityFailover, LocalityWeights
from libs.proxy.scope import EndpointScope
from libs.xds.generate import endpoints
from libs.xds.generate.endpoint_priority import arrange
from tests.support.mesh import endpoints as rows_of
from tests.support.mesh import service
from tests.support.scopes import assignments

WEB = service("web")
NAME = f"outbound|80||{WEB.host}"
EU1, EU2, US = Locality("eu", "eu-1"), Locality("eu", "eu-2"), Locality("us", "us-1")


def one(address: str, place: Locality = EU1, **fields: object) -> Endpoint:
    return Endpoint(
        address=address,
        port=80,
        port_name="http-80",
        locality=place,
        **fields,  # type: ignore[arg-type]
    )


def scope(*found: Endpoint, **fields: object) -> EndpointScope:
    return EndpointScope(
        cluster=NAME,
        service=ServiceKey(""),
        endpoints=found,
        refs=(),
        **fields,  # type: ignore[arg-type]
    )


def arranged(asked: EndpointScope) -> list[tuple[str, int, int]]:
    groups = arrange(endpoints._by_locality(asked.endpoints), asked)
    return [
        (group.locality.zone, group.priority, group.weight if group.endpoints else 0)
        for group in groups
    ]


def test_an_endpoint_says_whether_it_speaks_mesh_tls_and_whose_it_is() -> None:
    labels = {"app": "web", "version": "v2"}
    found = assignments(WEB, rows_of(WEB, "10.0.0.1", labels=labels, workload_name="web-v2"))[NAME]
    metadata = found.endpoints[0].lb_endpoints[0].metadata.filter_metadata
    assert metadata["envoy.transport_socket_match"].fields["tlsMode"].string_value == "istio"
    assert metadata["istio"].fields["workload"].string_value == "web-v2;shop;web;v2;Kubernetes"


def test_an_endpoint_without_a_sidecar_does_not() -> None:
    found = assignments(WEB, rows_of(WEB, "10.0.0.1", mtls=False))[NAME]
    metadata = found.endpoints[0].lb_endpoints[0].metadata.filter_metadata
    assert "envoy.transport_socket_match" not in metadata


def test_health_and_weight_are_told() -> None:
    rows = EndpointSet(
        key=WEB.key, endpoints=(one("10.0.0.1", health=Health.UNHEALTHY, weight=3), one("10.0.0.2"))
    )
    (group,) = assignments(WEB, rows)[NAME].endpoints
    assert [endpoint.health_status for endpoint in group.lb_endpoints] == [2, 1]
    assert group.load_balancing_weight.value == 4


def test_a_socket_is_an_address() -> None:
    assert endpoints.address("unix:///run/db", 0).pipe.path == "/run/db"


def test_equal_scopes_are_equal_bytes_and_the_same_scope_is_made_once() -> None:
    left, right = scope(one("10.0.0.1")), scope(one("10.0.0.1"))
    assert endpoints.generate(left) is endpoints.generate(left)
    assert endpoints.generate(left).body == endpoints.generate(right).body


ALL = (one("10.0.0.1", EU1), one("10.0.0.2", EU2), one("10.0.0.3", US))


def test_without_a_setting_all_are_equal() -> None:
    assert arranged(scope(*ALL)) == [("eu-1", 0, 1), ("eu-2", 0, 1), ("us-1", 0, 1)]


def test_nearer_ones_come_first_and_no_priority_is_left_out() -> None:
    asked = scope(*ALL, balancing=LocalityBalancing(), failover=True, locality=EU2)
    assert arranged(asked) == [("eu-1", 1, 1), ("eu-2", 0, 1), ("us-1", 2, 1)]
    far = scope(*ALL, balancing=LocalityBalancing(), failover=True, locality=Locality("asia"))
    assert {priority for _, priority, _ in arranged(far)} == {0}


def test_a_failover_region_comes_before_all_others() -> None:
    setting = LocalityBalancing(failover=(LocalityFailover("asia", "us"),))
    asked = scope(*ALL, balancing=setting, failover=True, locality=Locality("asia"))
    assert arranged(asked) == [("eu-1", 1, 1), ("eu-2", 1, 1), ("us-1", 0, 1)]


def test_shares_by_locality_and_nothing_for_those_not_named() -> None:
    setting = LocalityBalancing(
        distribute=(LocalityWeights("eu/*", {"eu/eu-1/*": 70, "eu/eu-2": 30}),)
    )
    asked = scope(*ALL, balancing=setting, locality=EU1)
    assert arranged(asked) == [("eu-1", 0, 70), ("eu-2", 0, 30), ("us-1", 0, 0)]


def test_a_share_is_divided_by_weight_among_the_localities_it_covers() -> None:
    setting = LocalityBalancing(distribute=(LocalityWeights("*", {"eu/*": 90, "us/*": 10}),))
    more = (*ALL, one("10.0.0.4", EU2))
    asked = scope(*more, balancing=setting, locality=EU1)
    assert arranged(asked) == [("eu-1", 0, 30), ("eu-2", 0, 60), ("us-1", 0, 10)]


def test_the_nearer_of_two_patterns_takes_a_locality_whatever_their_order() -> None:
    for to in ({"eu/*": 90, "eu/eu-1/*": 10}, {"eu/eu-1/*": 10, "eu/*": 90}):
        setting = LocalityBalancing(distribute=(LocalityWeights("*", to),))
        asked = scope(*ALL, balancing=setting, locality=EU1)
        assert arranged(asked) == [("eu-1", 0, 10), ("eu-2", 0, 90), ("us-1", 0, 0)]


def test_a_distribution_for_others_changes_nothing() -> None:
    setting = LocalityBalancing(distribute=(LocalityWeights("asia/*", {"us/*": 100}),))
    asked = scope(*ALL, balancing=setting, locality=EU1)
    assert arranged(asked) == arranged(scope(*ALL))


def test_labels_in_common_decide_and_split_a_locality() -> None:
    setting = LocalityBalancing(failover_priority=("version", "rack"))
    rows = [
        one("10.0.0.1", labels={"version": "v1", "rack": "a"}),
        one("10.0.0.2", labels={"version": "v1", "rack": "b"}),
        one("10.0.0.3", labels={"version": "v2", "rack": "a"}),
    ]
    labels = {"version": "v1", "rack": "a"}
    asked = scope(*rows, balancing=setting, failover=True, labels=labels)
    assert [priority for _, priority, _ in arranged(asked)] == [0, 1, 2]


def test_another_network_stands_behind_all_of_ones_own() -> None:
    setting = LocalityBalancing(
        failover_priority=("topology.istio.io/network", "topology.kubernetes.io/region")
    )
    rows = [one("10.0.0.1", US, network="here"), one("10.0.0.2", EU1, network="there")]
    labels = {"topology.istio.io/network": "here", "topology.kubernetes.io/region": "eu"}
    asked = scope(*rows, balancing=setting, failover=True, labels=labels)
    assert arranged(asked) == [("eu-1", 1, 1), ("us-1", 0, 1)]


def gateway(place: Locality = EU1, weight: int = 1, address: str = "192.0.2.1") -> Endpoint:
    return one(address, place, network="south", mtls=True, gateway=True, weight=weight)


def placed(asked: EndpointScope) -> dict[str, list[tuple[str, int]]]:
    return {
        f"{group.locality.zone}/{group.priority}": [
            (it.endpoint.address.socket_address.address, it.load_balancing_weight.value)
            for it in group.lb_endpoints
        ]
        for group in endpoints.assignment(asked).endpoints
    }


def test_a_gateway_of_several_localities_is_there_once_with_all_its_weight() -> None:
    asked = scope(one("10.0.0.1"), gateway(EU1, 2), gateway(EU2, 3), gateway(EU2, 1, "192.0.2.2"))
    assert placed(asked) == {
        "eu-1/0": [("10.0.0.1", 1), ("192.0.2.1", 5)],
        "eu-2/0": [("192.0.2.2", 1)],
    }
    (first, second) = endpoints.assignment(asked).endpoints
    assert (first.load_balancing_weight.value, second.load_balancing_weight.value) == (6, 1)


def test_a_gateway_is_where_its_endpoints_come_first() -> None:
    asked = scope(
        one("10.0.0.1", EU1),
        gateway(EU1, 2),
        gateway(US, 3),
        one("10.0.0.2", US),
        balancing=LocalityBalancing(),
        failover=True,
        locality=US,
    )
    assert placed(asked) == {
        "eu-1/1": [("10.0.0.1", 1)],
        "us-1/0": [("192.0.2.1", 3), ("10.0.0.2", 1)],
    }


def test_of_a_gateway_nothing_but_its_network_is_known() -> None:
    setting = LocalityBalancing(failover_priority=("topology.kubernetes.io/region",))
    asked = scope(
        one("10.0.0.1", EU1),
        gateway(EU1),
        balancing=setting,
        failover=True,
        labels={"topology.kubernetes.io/region": "eu"},
    )
    assert placed(asked) == {"eu-1/0": [("10.0.0.1", 1)], "eu-1/1": [("192.0.2.1", 1)]}
