"""Telemetry: the access loggers of both directions, files and Istio's standard metrics."""

from collections.abc import Sequence

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog, AccessLogFilter, LogTypeFilter
from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogType

from libs.model.service import Service
from libs.proxy.scope import InboundScope
from libs.xds.generate import access_log, metrics
from libs.xds.generate.metrics import Called, Direction


def http_access_logs(
    own: InboundScope, direction: Direction, service: Service | None = None
) -> Sequence[AccessLog]:
    """Return the loggers of an HTTP connection manager in the proxy of `own`.

    `service` is the one that an inbound port stands for, if any.
    """
    files = access_log.files(own.settings.access_log)
    return [*files, *metrics.of_requests(metrics.side(own), direction, _called(service))]


def tcp_access_logs(
    own: InboundScope, direction: Direction, service: Service | None = None
) -> Sequence[AccessLog]:
    """Return the loggers of a TCP proxy in the proxy of `own`; it must log connecting, too."""
    files = access_log.files(own.settings.access_log)
    for log in files:
        connecting = LogTypeFilter(types=[AccessLogType.TcpUpstreamConnected], exclude=True)
        log.filter.CopyFrom(AccessLogFilter(log_type_filter=connecting))
    return [*files, *metrics.of_connections(metrics.side(own), direction, _called(service))]


def listener_access_logs(own: InboundScope) -> Sequence[AccessLog]:
    """Return the loggers of a listener: connections that none of its chains takes."""
    return access_log.unmatched(own.settings.access_log)


def _called(service: Service | None) -> Called | None:
    return Called(service.host, service.name) if service else None
