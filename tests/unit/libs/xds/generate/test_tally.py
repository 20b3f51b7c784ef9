from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog
from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogType
from envoy.extensions.access_loggers.open_telemetry.v3.logs_service_pb2 import (
    OpenTelemetryAccessLogConfig,
)
from envoy.extensions.access_loggers.stats.v3.stats_pb2 import Config

from libs.model.telemetry import MetricsRule
from libs.xds import names
from libs.xds.generate import metrics
from libs.xds.generate.metrics import Called, Side
from services.agent import bootstrap
from tests.unit.libs.xds.generate.test_metrics import labels

OWN = Side("web", "shop", "100%", "v1", "web", "v1", "Kubernetes")
CALLED = Called("web.shop.svc.cluster.local", "web")
SENT, RECEIVED = "tcp_sent_bytes_total", "tcp_received_bytes_total"


def told(*changes: MetricsRule) -> list[AccessLog]:
    """Return the loggers that tell the agent."""
    every = metrics.of_connections(OWN, "inbound", CALLED, changes, lasting=True)
    return [log for log in every if log.name != metrics.NAME]


def entries(log: AccessLog) -> OpenTelemetryAccessLogConfig:
    found = OpenTelemetryAccessLogConfig()
    assert log.typed_config.Unpack(found)
    return found


def body(log: AccessLog) -> list[str]:
    return [one.string_value for one in entries(log).body.array_value.values]


def tags(log: AccessLog) -> dict[str, str]:
    fields = entries(log)
    pairs = [*fields.resource_attributes.values, *fields.attributes.values]
    return {pair.key: pair.value.string_value for pair in pairs}


def test_envoy_counts_connections_and_tells_of_bytes() -> None:
    counted = [
        one.stat.name
        for log in metrics.of_connections(OWN, "inbound", CALLED, lasting=True)
        if log.name == metrics.NAME
        for one in _counters(log)
    ]
    assert counted == ["tcp_connections_opened_total", "tcp_connections_closed_total"]
    [log] = told()
    assert body(log)[2:] == [SENT, "%BYTES_SENT%", RECEIVED, "%BYTES_RECEIVED%"]


def test_the_labels_are_those_that_envoy_would_count_with() -> None:
    _, closed = metrics.of_connections(OWN, "inbound", CALLED)
    expected = labels(_counters(closed)[0].stat)
    assert expected["destination_app"] == "100%%"
    assert tags(told()[0]) == {**expected, "destination_app": "100%"}


def test_what_all_entries_share_is_said_once() -> None:
    fields = entries(told()[0])
    assert all("%" in pair.value.string_value for pair in fields.attributes.values)
    assert "reporter" in {pair.key for pair in fields.resource_attributes.values}


def test_entries_are_of_connections_that_last_or_end() -> None:
    end, lasting = told()[0].filter.or_filter.filters
    assert list(end.log_type_filter.types) == [AccessLogType.TcpConnectionEnd]
    periodic, connected = lasting.and_filter.filters
    assert list(periodic.log_type_filter.types) == [AccessLogType.TcpPeriodic]
    assert connected.HasField("extension_filter")


def test_metrics_with_labels_of_their_own_are_told_apart() -> None:
    sent, received = told(MetricsRule(metric=SENT, tags=(("port", "destination.port"),)))
    assert body(sent)[2:] == [SENT, "%BYTES_SENT%"]
    assert body(received)[2:] == [RECEIVED, "%BYTES_RECEIVED%"]
    assert tags(sent)["port"] == "%CEL(destination.port)%"
    assert "port" not in tags(received)


def test_nobody_is_told_of_metrics_that_are_off() -> None:
    [log] = told(MetricsRule(metric=SENT, disabled=True))
    assert body(log)[2:] == [RECEIVED, "%BYTES_RECEIVED%"]
    gone = MetricsRule(disabled=True)
    assert told(gone) == []
    assert not metrics.counts_bytes((gone,))


def test_the_agent_is_found_under_the_name_that_its_bootstrap_has() -> None:
    assert names.TALLY_CLUSTER == bootstrap.TALLY_CLUSTER
    common = entries(told()[0]).common_config
    assert common.grpc_service.envoy_grpc.cluster_name == names.TALLY_CLUSTER


def _counters(log: AccessLog) -> list[Config.Counter]:
    found = Config()
    assert log.typed_config.Unpack(found)
    return list(found.counters)
