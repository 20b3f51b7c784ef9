from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)

from libs.model.proxy_settings import Connections, Headers
from libs.xds.generate.proxy_headers import add_headers, connections, count_attempts, limit


def test_the_advice_for_the_edge_is_for_routers_and_gives_way() -> None:
    wanted = Connections(edge=True, idle_timeout=1, merge_slashes=False)
    assert connections(wanted, router=False) is wanted
    found = connections(wanted, router=True)
    assert (found.idle_timeout, found.merge_slashes) == (1, False)
    assert (found.max_streams, found.underscores) == (100, "REJECT_REQUEST")
    assert connections(Connections(), router=True) == Connections()


def test_nothing_is_limited_that_nobody_limits() -> None:
    manager = hcm.HttpConnectionManager()
    limit(manager, Connections())
    assert manager == hcm.HttpConnectionManager()


def test_only_servers_tell_of_certificates() -> None:
    inbound, outbound = hcm.HttpConnectionManager(), hcm.HttpConnectionManager()
    add_headers(inbound, Headers(cert=True), inbound=True)
    add_headers(outbound, Headers(cert=True), inbound=False)
    assert inbound.set_current_client_cert_details.cert
    assert not outbound.HasField("set_current_client_cert_details")


def test_attempts_are_counted_and_the_host_is_forwarded_where_asked_for() -> None:
    host = VirtualHost(routes=[Route(), Route()])
    host.routes[0].route.cluster = "x"
    host.routes[1].redirect.path_redirect = "/"
    count_attempts(host, Headers(forwarded_host=True))
    assert host.include_request_attempt_count
    assert host.routes[0].route.append_x_forwarded_host
    assert not host.routes[1].HasField("route")
    assert not count_attempts(VirtualHost(), Headers(attempt_count=False)).ByteSize()
