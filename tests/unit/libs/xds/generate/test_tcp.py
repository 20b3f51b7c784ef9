from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import UpstreamConnectMode

from libs.proxy.inbound import inbound_scope
from libs.xds.generate.tcp import tcp_proxy
from tests.support import listeners as read
from tests.support import mesh as rows

OWN = inbound_scope(rows.mesh(), rows.proxy())


def test_one_cluster() -> None:
    found = read.tcp_proxy(
        tcp_proxy(own=OWN, direction="outbound", stat_prefix="x", cluster="c", idle_timeout=1500)
    )
    assert (found.stat_prefix, found.cluster) == ("x", "c")
    assert found.idle_timeout.ToMilliseconds() == 1500
    assert found.upstream_connect_mode == UpstreamConnectMode.IMMEDIATE


def test_shares_of_several_clusters() -> None:
    found = read.tcp_proxy(
        tcp_proxy(own=OWN, direction="outbound", stat_prefix="x", weighted={"a": 1, "b": 3})
    )
    shares = {one.name: one.weight for one in found.weighted_clusters.clusters}
    assert shares == {"a": 1, "b": 3}


def test_the_application_is_not_called_before_the_caller_proved_who_it_is() -> None:
    found = read.tcp_proxy(
        tcp_proxy(own=OWN, direction="inbound", stat_prefix="x", cluster="inbound|80||")
    )
    assert found.upstream_connect_mode == UpstreamConnectMode.ON_DOWNSTREAM_TLS_HANDSHAKE
    assert found.max_early_data_bytes.value > 0
