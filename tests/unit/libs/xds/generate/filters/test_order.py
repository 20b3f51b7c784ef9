import pytest
from envoy.extensions.filters.http.router.v3.router_pb2 import Router

from libs.xds.generate import typed
from libs.xds.generate.filters import order


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
