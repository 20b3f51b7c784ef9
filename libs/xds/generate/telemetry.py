"""Telemetry: the access loggers of both directions, what users want logged and Istio's metrics."""

from collections.abc import Iterator, Sequence

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog, AccessLogFilter, LogTypeFilter
from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogType

from libs.model.providers import FileLog, GrpcLog, OpenTelemetryLog
from libs.model.service import Service
from libs.model.telemetry import Log, SideTelemetry
from libs.proxy.scope import InboundScope
from libs.xds.generate import access_log, metrics
from libs.xds.generate.metrics import Called, Direction


def side(own: InboundScope, direction: Direction) -> SideTelemetry:
    """Return what is wanted in one direction."""
    return own.telemetry.server if direction == "inbound" else own.telemetry.client


def http_access_logs(
    own: InboundScope, direction: Direction, service: Service | None = None
) -> Sequence[AccessLog]:
    """Return the loggers of an HTTP connection manager in the proxy of `own`.

    `service` is the one that an inbound port stands for, if any.
    """
    wanted = side(own, direction)
    logs = [*_logs(own, wanted)]
    if wanted.metrics:
        me, it = metrics.side(own), _called(service)
        logs += metrics.of_requests(me, direction, it, wanted.overrides)
    return logs


def tcp_access_logs(
    own: InboundScope, direction: Direction, service: Service | None = None
) -> Sequence[AccessLog]:
    """Return the loggers of a TCP proxy in the proxy of `own`; it must log connecting, too."""
    wanted = side(own, direction)
    logs = [_when_done(log) for log in _logs(own, wanted)]
    if wanted.metrics:
        me, it = metrics.side(own), _called(service)
        logs += metrics.of_connections(me, direction, it, wanted.overrides)
    return logs


def listener_access_logs(own: InboundScope) -> Sequence[AccessLog]:
    """Return the loggers of a listener: connections that none of its chains takes."""
    return access_log.unmatched(own.settings.access_log) if own.settings.log_listeners else ()


def _when_done(log: AccessLog) -> AccessLog:
    connecting = LogTypeFilter(types=[AccessLogType.TcpUpstreamConnected], exclude=True)
    done = AccessLogFilter(log_type_filter=connecting)
    if log.HasField("filter"):
        both = AccessLogFilter()
        both.and_filter.filters.extend([done, log.filter])
        done = both
    log.filter.CopyFrom(done)
    return log


def _logs(own: InboundScope, wanted: SideTelemetry) -> Iterator[AccessLog]:
    for log in wanted.logs:
        for made in _of(own, log):
            if log.filter:
                made.filter.CopyFrom(access_log.matching(log.filter))
            yield made


def _of(own: InboundScope, log: Log) -> Sequence[AccessLog]:
    if not log.provider:
        return access_log.files(own.settings.access_log)
    known = {it.name: it for it in own.settings.providers}
    provider = known.get(log.provider, FileLog(name=log.provider))
    if isinstance(provider, FileLog):
        return access_log.files(access_log.of_provider(provider, own.settings.access_log))
    if isinstance(provider, GrpcLog):
        return [access_log.streamed(provider)]
    return [access_log.sent(provider)] if isinstance(provider, OpenTelemetryLog) else []


def _called(service: Service | None) -> Called | None:
    return Called(service.host, service.name) if service else None
