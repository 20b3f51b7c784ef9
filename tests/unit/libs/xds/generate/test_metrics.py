from collections.abc import Callable

import pytest
from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog
from envoy.extensions.access_loggers.stats.v3.stats_pb2 import Config

from libs.model.telemetry import MetricsRule
from libs.xds.generate import metrics
from libs.xds.generate.metrics import Called, Side

OWN = Side("web", "shop", "web", "v1", "web", "v1", "Kubernetes")
CALLED = Called("web.shop.svc.cluster.local", "web")
Loggers = Callable[..., tuple[AccessLog, ...]]
BOTH_OFF = (
    MetricsRule(metric="request_messages_total", disabled=True),
    MetricsRule(metric="response_messages_total", disabled=True),
)


def config(log: object) -> Config:
    found = Config()
    assert log.typed_config.Unpack(found)  # type: ignore[attr-defined]
    return found


def labels(stat: Config.Stat) -> dict[str, str]:
    return {tag.name: tag.value_format for tag in stat.tags}


def test_requests_are_counted_and_measured_under_the_same_labels() -> None:
    (log,) = metrics.of_requests(OWN, "inbound", CALLED)
    found = config(log)
    assert [one.stat.name for one in found.counters] == ["requests_total"]
    assert [one.stat.name for one in found.histograms] == [
        "request_duration_milliseconds",
        "request_bytes",
        "response_bytes",
    ]
    every = [one.stat for one in (*found.counters, *found.histograms)]
    assert len({tuple(labels(stat).items()) for stat in every}) == 1
    assert len(labels(every[0])) == 25


def test_messages_are_counted_under_the_labels_of_requests_where_their_numbers_are_known() -> None:
    (requests,) = metrics.of_requests(OWN, "outbound")
    (messages,) = metrics.of_messages(OWN, "outbound")
    found = config(messages).counters
    assert [(one.stat.name, one.value_format) for one in found] == [
        ("request_messages_total", "%DYNAMIC_METADATA(istio.grpc_messages:request)%"),
        ("response_messages_total", "%DYNAMIC_METADATA(istio.grpc_messages:response)%"),
    ]
    [same] = {tuple(labels(one.stat).items()) for one in found}
    assert dict(same) == labels(config(requests).counters[0].stat)
    assert messages.filter.metadata_filter.matcher.filter == "istio.grpc_messages"
    assert messages.filter.metadata_filter.HasField("match_if_key_not_found")
    assert not messages.filter.metadata_filter.match_if_key_not_found.value
    assert not requests.HasField("filter"), "every other request is counted as well"


def test_what_policies_say_of_messages() -> None:
    gone = MetricsRule(metric="request_messages_total", disabled=True)
    tagged = MetricsRule(metric="response_messages_total", tags=(("host", "request.host"),))
    (requests,) = metrics.of_requests(OWN, "outbound", changes=(gone, tagged))
    (messages,) = metrics.of_messages(OWN, "outbound", changes=(gone, tagged))
    [left] = config(messages).counters
    assert left.stat.name == "response_messages_total"
    assert labels(left.stat)["host"] == "%CEL(request.host)%"
    assert "host" not in labels(config(requests).counters[0].stat)


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ((), True),
        ((MetricsRule(metric="requests_total", disabled=True),), True),
        ((MetricsRule(metric="request_messages_total", disabled=True),), True),
        (BOTH_OFF, False),
        ((MetricsRule(disabled=True),), False),
        ((MetricsRule(disabled=True), MetricsRule(metric="requests_total", disabled=False)), False),
        ((*BOTH_OFF, MetricsRule(metric="response_messages_total", disabled=False)), True),
    ],
)
def test_messages_need_counting_only_if_a_metric_of_them_is_left(
    changes: metrics.Changes, *, counted: bool
) -> None:
    assert metrics.counts_messages(changes) is counted
    stats = [
        one.stat.name
        for log in metrics.of_messages(OWN, "inbound", changes=changes)
        for one in config(log).counters
    ]
    assert bool(stats) is counted


def test_connections_are_counted_when_they_open_and_when_they_end() -> None:
    opened, closed = metrics.of_connections(OWN, "outbound")
    assert [one.stat.name for one in config(opened).counters] == ["tcp_connections_opened_total"]
    assert {one.stat.name for one in config(closed).counters} == {
        "tcp_connections_closed_total",
        "tcp_sent_bytes_total",
        "tcp_received_bytes_total",
    }
    types = [list(log.filter.log_type_filter.types) for log in (opened, closed)]
    assert types[0] != types[1]


def test_a_server_knows_itself_and_of_its_peer_only_what_is_proved() -> None:
    found = labels(config(metrics.of_requests(OWN, "inbound", CALLED)[0]).counters[0].stat)
    assert found["reporter"] == "destination"
    assert found["destination_workload"] == "web"
    assert found["destination_service"] == CALLED.host
    assert "istio.peer.workload:PLAIN" in found["source_workload"]
    assert "uri_san_peer_certificate" in found["source_principal"]


@pytest.mark.parametrize("of", [metrics.of_requests, metrics.of_connections])
def test_the_namespace_of_a_caller_is_what_its_certificate_says(of: Loggers) -> None:
    found = labels(config(of(OWN, "inbound", CALLED)[0]).counters[0].stat)
    assert "istio.peer.workload_namespace:PLAIN" in found["source_workload_namespace"]


def test_a_port_without_a_service_is_called_by_its_cluster() -> None:
    found = labels(config(metrics.of_requests(OWN, "inbound")[0]).counters[0].stat)
    assert found["destination_service_name"] == "InboundPassthroughCluster"
    assert found["destination_service"] == "web"


def test_nothing_that_a_caller_can_vary_names_a_series_of_the_server() -> None:
    found = labels(config(metrics.of_requests(OWN, "inbound", CALLED)[0]).counters[0].stat)
    assert not [name for name, text in found.items() if "REQ" in text or "authority" in text]


def test_a_client_knows_itself() -> None:
    found = labels(config(metrics.of_requests(OWN, "outbound")[0]).counters[0].stat)
    assert found["reporter"] == "source"
    assert found["source_workload"] == "web"
    assert found["connection_security_policy"] == "unknown"


def test_a_percent_sign_is_no_operator() -> None:
    own = OWN._replace(version="100%")
    found = labels(config(metrics.of_requests(own, "inbound", CALLED)[0]).counters[0].stat)
    assert found["destination_version"] == "100%%"


def test_all_loggers_share_one_bounded_scope() -> None:
    logs = (*metrics.of_requests(OWN, "inbound"), *metrics.of_connections(OWN, "outbound"))
    scopes = {log.typed_config.value[-22:] for log in logs}
    assert len(scopes) == 1
    assert b"istio" in scopes.pop()
