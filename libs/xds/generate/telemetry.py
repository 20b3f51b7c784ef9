"""Telemetry: the access loggers of both directions, what users want logged and Istio's metrics."""

from collections.abc import Iterator, Sequence

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog, AccessLogFilter, LogTypeFilter
from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogType
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)

from libs.model.providers import FileLog, GrpcLog, OpenTelemetryLog
from libs.model.service import Protocol, Service
from libs.model.telemetry import Log, SideTelemetry
from libs.proxy.scope import InboundPort, InboundScope
from libs.xds.generate import access_log, metrics
from libs.xds.generate.filters import grpc_messages
from libs.xds.generate.metrics import Called, Direction


def side(own: InboundScope, direction: Direction) -> SideTelemetry:
    """Return what is wanted in one direction."""
    return own.telemetry.server if direction == "inbound" else own.telemetry.client


def http_access_logs(
    own: InboundScope, direction: Direction, port: InboundPort | None = None
) -> Sequence[AccessLog]:
    """Return the loggers of an HTTP connection manager in the proxy of `own`.

    `port` is the inbound port that is served, if it is one.
    """
    wanted = side(own, direction)
    logs = [*_logs(own, wanted, http=True)]
    if wanted.metrics:
        me, it = metrics.side(own), _called(port.service if port else None)
        logs += metrics.of_requests(me, direction, it, wanted.overrides)
        if _may_be_grpc(port):
            logs += metrics.of_messages(me, direction, it, wanted.overrides)
    return logs


def http_filters(
    own: InboundScope, direction: Direction, port: InboundPort | None = None
) -> Sequence[hcm.HttpFilter]:
    """Return the filters that the loggers of an HTTP connection manager need."""
    wanted = side(own, direction)
    counted = wanted.metrics and metrics.counts_messages(wanted.overrides)
    return grpc_messages.FILTERS if counted and _may_be_grpc(port) else ()


def _may_be_grpc(port: InboundPort | None) -> bool:
    """Tell whether gRPC may come in: a port that is declared as HTTP/1 pays for no messages."""
    return port is None or port.protocol is not Protocol.HTTP


def tcp_access_logs(
    own: InboundScope, direction: Direction, service: Service | None = None
) -> Sequence[AccessLog]:
    """Return the loggers of a TCP proxy in the proxy of `own`; it must log connecting, too."""
    wanted = side(own, direction)
    logs = [_when_done(log) for log in _logs(own, wanted, http=False)]
    if wanted.metrics:
        me, it = metrics.side(own), _called(service)
        lasting = bool(reporting_interval(own, direction))
        logs += metrics.of_connections(me, direction, it, wanted.overrides, lasting=lasting)
    return logs


def reporting_interval(own: InboundScope, direction: Direction) -> int:
    """Return how often a TCP proxy is to tell of a connection that lasts; 0 if never.

    In milliseconds.
    """
    wanted = side(own, direction)
    counted = wanted.metrics and metrics.counts_bytes(wanted.overrides)
    return wanted.interval if counted else 0


def listener_access_logs(own: InboundScope) -> Sequence[AccessLog]:
    """Return the loggers of a listener: connections that none of its chains takes."""
    settings = own.settings
    if not settings.log_listeners:
        return ()
    return access_log.unmatched(settings.access_log, service=settings.log_service)


def _when_done(log: AccessLog) -> AccessLog:
    earlier = [AccessLogType.TcpUpstreamConnected, AccessLogType.TcpPeriodic]
    connecting = LogTypeFilter(types=earlier, exclude=True)
    done = AccessLogFilter(log_type_filter=connecting)
    if log.HasField("filter"):
        both = AccessLogFilter()
        both.and_filter.filters.extend([done, log.filter])
        done = both
    log.filter.CopyFrom(done)
    return log


def _logs(own: InboundScope, wanted: SideTelemetry, *, http: bool) -> Iterator[AccessLog]:
    for log in wanted.logs:
        for made in _of(own, log, http=http):
            if log.filter:
                made.filter.CopyFrom(access_log.matching(log.filter))
            yield made


def _of(own: InboundScope, log: Log, *, http: bool) -> Sequence[AccessLog]:
    if not log.provider:
        also = [access_log.to_service(http=http)] if own.settings.log_service else []
        return [*access_log.files(own.settings.access_log), *also]
    known = {it.name: it for it in own.settings.providers}
    provider = known.get(log.provider, FileLog(name=log.provider))
    if isinstance(provider, FileLog):
        return access_log.files(access_log.of_provider(provider, own.settings.access_log))
    if isinstance(provider, GrpcLog):
        return [access_log.streamed(provider)]
    return [access_log.sent(provider)] if isinstance(provider, OpenTelemetryLog) else []


def _called(service: Service | None) -> Called | None:
    return Called(service.host, service.name) if service else None
