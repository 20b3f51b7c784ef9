from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import UpstreamConnectMode

from libs.model.telemetry import MetricsRule
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


def test_an_agent_that_counts_is_told_of_connections_that_last() -> None:
    policy = rows.telemetry_policy("t", metrics_interval=7000)
    own = inbound_scope(rows.mesh(policy), rows.proxy(counts_bytes=True))
    found = read.tcp_proxy(tcp_proxy(own=own, direction="inbound", stat_prefix="x", cluster="c"))
    assert found.access_log_options.access_log_flush_interval.seconds == 7


def test_without_one_or_without_metrics_of_bytes_nobody_is() -> None:
    off = rows.telemetry_policy("t", metrics=(MetricsRule(disabled=True),))
    for own in (OWN, inbound_scope(rows.mesh(off), rows.proxy(counts_bytes=True))):
        made = tcp_proxy(own=own, direction="inbound", stat_prefix="x", cluster="c")
        found = read.tcp_proxy(made)
        assert not found.access_log_options.HasField("access_log_flush_interval")
