"""Telemetry: the access loggers of both directions, files and Istio's standard metrics."""

from typing import Literal

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog

from libs.proxy.scope import InboundScope
from libs.xds.generate import access_log


def http_access_logs(
    own: InboundScope, direction: Literal["inbound", "outbound"]
) -> list[AccessLog]:
    """Return the loggers of an HTTP connection manager in the proxy of `own`."""
    del direction
    return access_log.files(own.settings.access_log)


def tcp_access_logs(
    own: InboundScope, direction: Literal["inbound", "outbound"]
) -> list[AccessLog]:
    """Return the loggers of a TCP proxy in the proxy of `own`."""
    del direction
    return access_log.files(own.settings.access_log)


def listener_access_logs(own: InboundScope) -> list[AccessLog]:
    """Return the loggers of a listener: connections that none of its chains takes."""
    return access_log.unmatched(own.settings.access_log)
