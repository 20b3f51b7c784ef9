"""Connection pools and outlier detection of a cluster, and the HTTP options that go with them.

Without a policy nothing is limited: Envoy's own small defaults would surprise a mesh in which every
client pod has its own counters.
"""

from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.cluster.v3.outlier_detection_pb2 import OutlierDetection as EnvoyOutlierDetection
from envoy.config.common.matcher.v3.matcher_pb2 import MatchPredicate
from envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions, Http2ProtocolOptions
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from google.protobuf.wrappers_pb2 import UInt32Value

from libs.model.service import Protocol
from libs.model.settings import MeshSettings
from libs.model.traffic import (
    ConnectionPool,
    H2Ping,
    Keepalive,
    OutlierDetection,
    RetryBudget,
)
from libs.xds.generate import newer, proxy_headers, typed

PROTOCOL_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

_UNLIMITED = 2**32 - 1
_BUDGET_INTERVAL = 3  # the number of CircuitBreakers.Thresholds.RetryBudget.budget_interval
_PING_TIMEOUT = 20_000  # milliseconds; Envoy wants one
_HTTP2 = frozenset({Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB})
_NO_LIMITS = ConnectionPool()


def upgrades_to_http2(
    protocol: Protocol, pool: ConnectionPool | None, settings: MeshSettings
) -> bool:
    """Tell whether the proxy speaks HTTP/2 upstream, whatever the client speaks."""
    if protocol in _HTTP2:
        return True
    wanted = pool or _NO_LIMITS
    if wanted.use_client_protocol:
        return False
    if wanted.h2_upgrade in {"UPGRADE", "DO_NOT_UPGRADE"}:
        return wanted.h2_upgrade == "UPGRADE"
    return settings.h2_upgrade and protocol.is_http


def limit(  # noqa: PLR0917 - all that limits a cluster
    cluster: Cluster,
    pool: ConnectionPool | None,
    settings: MeshSettings,
    budget: RetryBudget | None = None,
) -> None:
    """Set the limits, timeouts and keepalive of `cluster`."""
    wanted = pool or _NO_LIMITS
    connect_timeout = wanted.connect_timeout
    cluster.connect_timeout.FromMilliseconds(
        settings.connect_timeout if connect_timeout is None else connect_timeout
    )
    cluster.circuit_breakers.thresholds.append(_thresholds(wanted))
    if budget is not None:
        _limit_retries(cluster.circuit_breakers.thresholds[0], budget)
    if (buffer := settings.proxy.connections.cluster_buffer) is not None:
        cluster.per_connection_buffer_limit_bytes.value = buffer
    for keepalive in (settings.tcp_keepalive, wanted.keepalive):
        if keepalive is not None:
            _keep_alive(cluster, keepalive)


def http_options(
    protocol: Protocol, pool: ConnectionPool | None, *, http2: bool, sniffed: bool
) -> HttpProtocolOptions | None:
    """Return the HTTP options of a cluster, or None where Envoy's defaults do.

    `sniffed` clusters speak upstream what the client speaks.
    """
    wanted = pool or _NO_LIMITS
    options = HttpProtocolOptions()
    if sniffed or wanted.use_client_protocol:
        _follow_client(options)
    elif http2:
        options.explicit_http_config.http2_protocol_options.SetInParent()
    _common(options, wanted)
    if wanted.h2_ping is not None:
        _ping(options, wanted.h2_ping)
    if wanted.max_concurrent_streams and http2 and not wanted.use_client_protocol:
        streams = UInt32Value(value=wanted.max_concurrent_streams)
        explicit = options.explicit_http_config.http2_protocol_options
        explicit.max_concurrent_streams.CopyFrom(streams)
    return options if options.ByteSize() else None


def count_errors(
    options: HttpProtocolOptions | None, outlier: OutlierDetection | None
) -> HttpProtocolOptions | None:
    """Return `options` in which the statuses that a policy names are failures, in place of 5xx."""
    if outlier is None or not outlier.error_statuses:
        return options
    options = options or HttpProtocolOptions()
    rules = [_status(code) for code in outlier.error_statuses]
    found = options.outlier_detection.error_matcher
    if len(rules) == 1:
        found.CopyFrom(rules[0])
    else:
        found.or_match.rules.extend(rules)
    return options


def _status(code: int) -> MatchPredicate:
    found = MatchPredicate()
    header = found.http_response_headers_match.headers.add(name=":status")
    header.string_match.exact = str(code)
    return found


def set_http_options(
    cluster: Cluster, options: HttpProtocolOptions | None, *, keep_case: bool = False
) -> None:
    """Put `options` into `cluster`, completed by what Envoy requires of them.

    With `keep_case`, names of headers stay as they were written, where HTTP/1 is spoken.
    """
    if keep_case:
        options = options or HttpProtocolOptions()
    if options is None:
        return
    if options.WhichOneof("upstream_protocol_options") is None:
        options.explicit_http_config.http_protocol_options.SetInParent()
    if keep_case:
        _keep_case(options)
    cluster.typed_extension_protocol_options[PROTOCOL_OPTIONS].CopyFrom(typed.pack(options))


def _keep_case(options: HttpProtocolOptions) -> None:
    for kind in (options.explicit_http_config, options.use_downstream_protocol_config):
        if kind.HasField("http_protocol_options"):
            kind.http_protocol_options.header_key_format.CopyFrom(proxy_headers.KEPT_CASE)


def passthrough_options() -> HttpProtocolOptions:
    """Return the options of clusters that send to wherever the application dialled."""
    options = HttpProtocolOptions()
    options.common_http_protocol_options.idle_timeout.FromSeconds(300)
    _follow_client(options)
    return options


def detect_outliers(cluster: Cluster, outlier: OutlierDetection | None) -> None:
    """Set when endpoints are taken out, and that none failing is used while few are left."""
    if outlier is None:
        cluster.common_lb_config.healthy_panic_threshold.SetInParent()
        return
    found = cluster.outlier_detection
    found.enforcing_success_rate.value = 0
    if outlier.consecutive_5xx is not None:
        found.consecutive_5xx.value = outlier.consecutive_5xx
        found.enforcing_consecutive_5xx.value = 100 if outlier.consecutive_5xx else 0
    if outlier.consecutive_gateway_errors is not None:
        gateway = outlier.consecutive_gateway_errors
        found.consecutive_gateway_failure.value = gateway
        found.enforcing_consecutive_gateway_failure.value = 100 if gateway else 0
    if outlier.interval is not None:
        found.interval.FromMilliseconds(outlier.interval)
    if outlier.base_ejection_time is not None:
        found.base_ejection_time.FromMilliseconds(outlier.base_ejection_time)
    if outlier.max_ejection_percent:
        found.max_ejection_percent.value = outlier.max_ejection_percent
    if outlier.split_local_errors:
        _split(found, outlier)
    cluster.common_lb_config.healthy_panic_threshold.value = outlier.min_health_percent or 0


def _split(found: EnvoyOutlierDetection, outlier: OutlierDetection) -> None:
    found.split_external_local_origin_errors = True
    if outlier.consecutive_local_failures:
        found.consecutive_local_origin_failure.value = outlier.consecutive_local_failures
        found.enforcing_consecutive_local_origin_failure.value = 100
    found.enforcing_local_origin_success_rate.value = 0


def _thresholds(wanted: ConnectionPool) -> CircuitBreakers.Thresholds:
    return CircuitBreakers.Thresholds(
        max_connections=UInt32Value(value=wanted.max_connections or _UNLIMITED),
        max_pending_requests=UInt32Value(value=wanted.max_pending_requests or _UNLIMITED),
        max_requests=UInt32Value(value=wanted.max_requests or _UNLIMITED),
        max_retries=UInt32Value(value=wanted.max_retries or _UNLIMITED),
    )


def _keep_alive(cluster: Cluster, keepalive: Keepalive) -> None:
    set_up = cluster.upstream_connection_options.tcp_keepalive
    set_up.SetInParent()
    if keepalive.probes:
        set_up.keepalive_probes.value = keepalive.probes
    if keepalive.time is not None:
        set_up.keepalive_time.value = keepalive.time // 1000
    if keepalive.interval is not None:
        set_up.keepalive_interval.value = keepalive.interval // 1000


def _common(options: HttpProtocolOptions, wanted: ConnectionPool) -> None:
    common = options.common_http_protocol_options
    idle = wanted.tcp_idle_timeout if wanted.http_idle_timeout is None else wanted.http_idle_timeout
    if idle is not None:
        common.idle_timeout.FromMilliseconds(idle)
    if wanted.max_requests_per_connection:
        common.max_requests_per_connection.value = wanted.max_requests_per_connection
    if wanted.max_connection_duration is not None:
        common.max_connection_duration.FromMilliseconds(wanted.max_connection_duration)


def _limit_retries(thresholds: CircuitBreakers.Thresholds, budget: RetryBudget) -> None:
    """Envoy's own defaults, 20 % and three retries, are those of the policy."""
    found = thresholds.retry_budget
    found.SetInParent()
    if budget.percent is not None:
        found.budget_percent.value = budget.percent
    if budget.least:
        found.min_retry_concurrency.value = budget.least
    if budget.interval is not None:
        newer.set_message(found, _BUDGET_INTERVAL, typed.milliseconds(budget.interval))
    thresholds.ClearField("max_retries")  # which would count for nothing


def _ping(options: HttpProtocolOptions, wanted: H2Ping) -> None:
    kinds = (options.explicit_http_config, options.use_downstream_protocol_config)
    for kind in kinds:
        if kind.HasField("http2_protocol_options"):
            alive = kind.http2_protocol_options.connection_keepalive
            timeout = _PING_TIMEOUT if wanted.timeout is None else wanted.timeout
            alive.timeout.FromMilliseconds(timeout)
            if wanted.interval is not None:
                alive.interval.FromMilliseconds(wanted.interval)


def _follow_client(options: HttpProtocolOptions) -> None:
    followed = options.use_downstream_protocol_config
    followed.http_protocol_options.CopyFrom(Http1ProtocolOptions())
    followed.http2_protocol_options.CopyFrom(Http2ProtocolOptions())
