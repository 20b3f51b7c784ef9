import pytest
from envoy.extensions.filters.http.router.v3.router_pb2 import Router

from libs.model.extensions import Phase
from libs.xds.generate import typed
from libs.xds.generate.filters import order

OWN = ("ext_authz", "rbac", "mongo_proxy", "tcp_proxy")


def named(*names: str) -> list[str]:
    return [one.name for one in order.http(typed.http_filter(name, Router()) for name in names)]


def test_features_stand_where_the_table_says() -> None:
    found = named(
        "envoy.filters.http.router",
        "envoy.filters.http.cors",
        "envoy.filters.http.fault",
        "istio.alpn",
        "envoy.filters.http.rbac",
    )
    assert found == [
        "envoy.filters.http.rbac",
        "istio.alpn",
        "envoy.filters.http.fault",
        "envoy.filters.http.cors",
        "envoy.filters.http.router",
    ]


def test_connections_meet_users_modules_by_phase_around_access_rules() -> None:
    own = [typed.network_filter(f"envoy.filters.network.{name}", Router()) for name in OWN]
    phased = [(phase, typed.network_filter(phase, Router())) for phase in reversed(Phase)]
    found = [one.name for one in order.network(reversed(own), phased)]
    judged = OWN.index("rbac")
    ends = [f"envoy.filters.network.{name}" for name in OWN]
    expected = [*ends[:judged], Phase.AUTHN, Phase.AUTHZ, ends[judged]]
    assert found == [*expected, Phase.STATS, Phase.UNSPECIFIED, *ends[judged + 1 :]]


def test_equal_ranks_keep_their_order() -> None:
    first = typed.http_filter("envoy.filters.http.rbac", Router())
    second = typed.http_filter("envoy.filters.http.rbac", Router(suppress_envoy_headers=True))
    assert order.http([second, first]) == [second, first]


def test_a_filter_without_a_place_is_a_bug() -> None:
    with pytest.raises(KeyError):
        named("envoy.filters.http.unheard_of")


def test_no_name_stands_in_a_table_twice() -> None:
    for table in (order.HTTP_ORDER, order.NETWORK_ORDER):
        assert len(set(table)) == len(table)
