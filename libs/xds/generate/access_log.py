"""Access log files: one line for each request or connection, as `MeshSettings.access_log` asks.

`%RESPONSE_CODE_DETAILS%` in Istio's default format is what tells the rule that denied a request:
`rbac_access_denied_matched_policy[ns[<namespace>]-policy[<name>]-rule[<index>]]`.
"""

import json

from envoy.config.accesslog.v3.accesslog_pb2 import (
    AccessLog,
    AccessLogFilter,
    ExtensionFilter,
    ResponseFlagFilter,
)
from envoy.config.core.v3.base_pb2 import DataSource
from envoy.config.core.v3.config_source_pb2 import ApiVersion
from envoy.config.core.v3.substitution_format_string_pb2 import (
    JsonFormatOptions,
    SubstitutionFormatString,
)
from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog
from envoy.extensions.access_loggers.filters.cel.v3.cel_pb2 import ExpressionFilter
from envoy.extensions.access_loggers.grpc.v3.als_pb2 import (
    CommonGrpcAccessLogConfig,
    HttpGrpcAccessLogConfig,
    TcpGrpcAccessLogConfig,
)
from envoy.extensions.access_loggers.open_telemetry.v3.logs_service_pb2 import (
    OpenTelemetryAccessLogConfig,
)

from libs.model.providers import FileLog, GrpcLog, OpenTelemetryLog
from libs.model.telemetry import AccessLog as Wanted
from libs.xds.generate import typed
from libs.xds.names import LOG_SERVICE_CLUSTER, ClusterName

NAME = "envoy.access_loggers.file"
OPEN_TELEMETRY = "envoy.access_loggers.open_telemetry"
HTTP_GRPC = "envoy.access_loggers.http_grpc"
TCP_GRPC = "envoy.access_loggers.tcp_grpc"

_FIELDS = {
    "start_time": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "user_agent": "%REQ(USER-AGENT)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "authority": "%REQ(:AUTHORITY)%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%",
    "route_name": "%ROUTE_NAME%",
}

_QUOTED = {
    "upstream_transport_failure_reason",
    "x_forwarded_for",
    "user_agent",
    "request_id",
    "authority",
    "upstream_host",
}


def _default_text() -> str:
    request = '[{start_time}] "{method} {path} {protocol}"'.format_map(_FIELDS)
    rest = [name for name in _FIELDS if name not in {"start_time", "method", "path", "protocol"}]
    words = [f'"{_FIELDS[name]}"' if name in _QUOTED else _FIELDS[name] for name in rest]
    return " ".join([request, *words]) + "\n"


DEFAULT_TEXT = _default_text()
"""Istio's default line, which log pipelines parse."""


def files(wanted: Wanted) -> list[AccessLog]:
    """Return the loggers that write each request or connection to the wanted file, if any."""
    if not wanted.path:
        return []
    return [AccessLog(name=NAME, typed_config=typed.pack(_file(wanted)))]


def unmatched(wanted: Wanted, *, service: bool = False) -> list[AccessLog]:
    """Return the loggers of a listener itself: connections that no filter chain takes."""
    logs = files(wanted)
    if service:
        logs.append(_of_connections(_common(LOG_SERVICE_CLUSTER, "listener_envoy_accesslog")))
    for log in logs:
        flags = ResponseFlagFilter(flags=["NR"])
        log.filter.CopyFrom(AccessLogFilter(response_flag_filter=flags))
    return logs


def of_provider(provider: FileLog, mesh: Wanted) -> Wanted:
    """Return the log of a provider; where it says no format, the mesh's is used."""
    omit = provider.omit_empty
    if provider.labels:
        labels = json.dumps(dict(provider.labels))
        return Wanted(provider.path, labels, json=True, omit_empty=omit)
    if provider.text:
        text = provider.text if provider.text.endswith("\n") else provider.text + "\n"
        return Wanted(provider.path, text, omit_empty=omit)
    return Wanted(provider.path, mesh.format, mesh.json, omit)


def sent(provider: OpenTelemetryLog) -> AccessLog:
    """Return the logger that sends records to a collector."""
    config = OpenTelemetryAccessLogConfig(disable_builtin_labels=True)
    common = config.common_config
    common.log_name = provider.log_name or "otel_envoy_accesslog"
    common.transport_api_version = ApiVersion.V3
    cluster = str(ClusterName(provider.port, "", provider.host))
    common.grpc_service.envoy_grpc.cluster_name = cluster
    common.grpc_service.envoy_grpc.authority = provider.host
    config.body.string_value = (provider.text or DEFAULT_TEXT).rstrip("\n")
    for name, text in provider.labels:
        config.attributes.values.add(key=name).value.string_value = text
    return AccessLog(name=OPEN_TELEMETRY, typed_config=typed.pack(config))


def to_service(*, http: bool) -> AccessLog:
    """Return the logger that sends entries to the log service that bootstraps name."""
    if not http:
        return _of_connections(_common(LOG_SERVICE_CLUSTER, "tcp_envoy_accesslog"))
    config = HttpGrpcAccessLogConfig(
        common_config=_common(LOG_SERVICE_CLUSTER, "http_envoy_accesslog")
    )
    return AccessLog(name=HTTP_GRPC, typed_config=typed.pack(config))


def streamed(provider: GrpcLog) -> AccessLog:
    """Return the logger that sends entries to a server of Envoy's access log service."""
    cluster = str(ClusterName(provider.port, "", provider.host))
    common = _common(cluster, provider.log_name, authority=provider.host)
    common.filter_state_objects_to_log.extend(provider.filter_state)
    if not provider.http:
        return _of_connections(common)
    return AccessLog(
        name=HTTP_GRPC,
        typed_config=typed.pack(
            HttpGrpcAccessLogConfig(
                common_config=common,
                additional_request_headers_to_log=provider.request_headers,
                additional_response_headers_to_log=provider.response_headers,
                additional_response_trailers_to_log=provider.response_trailers,
            )
        ),
    )


def _of_connections(common: CommonGrpcAccessLogConfig) -> AccessLog:
    config = TcpGrpcAccessLogConfig(common_config=common)
    return AccessLog(name=TCP_GRPC, typed_config=typed.pack(config))


def _common(cluster: str, name: str, *, authority: str = "") -> CommonGrpcAccessLogConfig:
    common = CommonGrpcAccessLogConfig(log_name=name, transport_api_version=ApiVersion.V3)
    common.grpc_service.envoy_grpc.cluster_name = cluster
    common.grpc_service.envoy_grpc.authority = authority
    return common


def matching(expression: str) -> AccessLogFilter:
    """Return the filter of what fulfils a CEL expression."""
    found = ExpressionFilter(expression=expression)
    return AccessLogFilter(
        extension_filter=ExtensionFilter(
            name="envoy.access_loggers.extension_filters.cel", typed_config=typed.pack(found)
        )
    )


def _file(wanted: Wanted) -> FileAccessLog:
    if wanted.json:
        options = JsonFormatOptions(sort_properties=False)
        fields = json.loads(wanted.format) if wanted.format else _FIELDS
        layout = SubstitutionFormatString(json_format_options=options)
        layout.json_format.update(fields)
    else:
        text = DataSource(inline_string=wanted.format or DEFAULT_TEXT)
        layout = SubstitutionFormatString(text_format_source=text)
    layout.omit_empty_values = wanted.omit_empty
    return FileAccessLog(path=wanted.path, log_format=layout)
