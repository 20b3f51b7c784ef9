"""Rules about the limits of connections."""

from libs.api import reasons
from libs.api.networking.destination_rule import (
    ConnectionPool,
    H2UpgradePolicy,
    HttpPool,
    TcpPool,
)
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.durations import check_duration, check_idle_timeout
from libs.api.validate.keepalives import check_keepalive


def check_connection_pool(pool: ConnectionPool | None, path: Path, report: Report) -> None:
    """Report limits that contradict themselves, or that there cannot be."""
    if pool is None:
        return
    if pool.http is None and pool.tcp is None:
        report.error(path, reasons.MISSING_FIELD, "needs one of tcp and http")
    if pool.http:
        _check_http(pool.http, (path, "http"), report)
    if pool.tcp:
        _check_tcp(pool.tcp, (path, "tcp"), report)


def _check_http(http: HttpPool, path: Path, report: Report) -> None:
    _check_count(http.http1_max_pending_requests, (path, "http1MaxPendingRequests"), report)
    _check_count(http.http2_max_requests, (path, "http2MaxRequests"), report)
    _check_count(http.max_requests_per_connection, (path, "maxRequestsPerConnection"), report)
    _check_count(http.max_retries, (path, "maxRetries"), report)
    _check_count(http.max_concurrent_streams, (path, "maxConcurrentStreams"), report)
    check_duration(http.idle_timeout, (path, "idleTimeout"), report)
    if http.h2_upgrade_policy is H2UpgradePolicy.UPGRADE and http.use_client_protocol:
        text = "useClientProtocol and h2UpgradePolicy: UPGRADE exclude each other"
        report.error((path, "useClientProtocol"), reasons.CONFLICTING_FIELDS, text)
    if http.http2_keep_alive is None:
        return
    path = (path, "http2KeepAlive")
    pings = http.http2_keep_alive
    for field, duration in (("interval", pings.interval), ("timeout", pings.timeout)):
        if duration is None:
            report.error((path, field), reasons.MISSING_FIELD, f"{field} is required")
        check_duration(duration, (path, field), report)


def _check_tcp(tcp: TcpPool, path: Path, report: Report) -> None:
    _check_count(tcp.max_connections, (path, "maxConnections"), report)
    check_duration(tcp.connect_timeout, (path, "connectTimeout"), report)
    check_duration(tcp.max_connection_duration, (path, "maxConnectionDuration"), report)
    check_idle_timeout(tcp.idle_timeout, (path, "idleTimeout"), report)
    check_keepalive(tcp.tcp_keepalive, (path, "tcpKeepalive"), report)


def _check_count(count: int, path: Path, report: Report) -> None:
    if count < 0:
        report.error(path, reasons.OUT_OF_RANGE, "must not be negative")
