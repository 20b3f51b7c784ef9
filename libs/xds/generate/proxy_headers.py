"""Headers that a proxy adds, keeps or leaves out, and limits of what it accepts.

ProxyConfig's `proxyHeaders` and `connectionSettings`, laid over what an HTTP connection manager or
a virtual host has anyway. Gateways take what is forwarded of certificates from their topology.
"""

from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions, HttpProtocolOptions
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.http.header_formatters.preserve_case.v3.preserve_case_pb2 import (
    PreserveCaseFormatterConfig,
)

from libs.model.proxy_settings import Connections, Headers
from libs.xds.generate import typed

_Manager = hcm.HttpConnectionManager

KEPT_CASE = Http1ProtocolOptions.HeaderKeyFormat(
    stateful_formatter=TypedExtensionConfig(
        name="preserve_case", typed_config=typed.pack(PreserveCaseFormatterConfig())
    )
)
"""Names of headers stay as they were written, in HTTP/1."""

_EDGE = Connections(
    listener_buffer=32 * 1024,
    idle_timeout=3_600_000,
    stream_idle_timeout=300_000,
    request_timeout=300_000,
    headers_timeout=60_000,
    max_streams=100,
    stream_window=64 * 1024,
    connection_window=1024 * 1024,
    underscores="REJECT_REQUEST",
    merge_slashes=True,
    escaped_slashes="UNESCAPE_AND_REDIRECT",
)
"""What Envoy advises for the edge of a network."""


def connections(written: Connections, *, router: bool) -> Connections:
    """Return the limits in force: with the advice for the edge, if they are a router's and ask."""
    if not (router and written.edge):
        return written
    given = {name: getattr(written, name) for name in written.__struct_fields__}
    found = {
        name: getattr(_EDGE, name) if value in {None, ""} else value
        for name, value in given.items()
    }
    return Connections(**found)


def add_headers(manager: hcm.HttpConnectionManager, headers: Headers, *, inbound: bool) -> None:
    """Set what a proxy does to headers that belong to no route."""
    if headers.keep_server:
        manager.server_name = ""
        manager.server_header_transformation = _Manager.ServerHeaderTransformation.PASS_THROUGH
    elif headers.server:
        manager.server_name = headers.server
    if not headers.request_id:
        manager.generate_request_id.value = False
    if headers.keep_case:
        manager.http_protocol_options.header_key_format.CopyFrom(KEPT_CASE)
    manager.append_x_forwarded_port = headers.forwarded_port
    if inbound:
        _forward_certificate(manager, headers)


def _forward_certificate(manager: hcm.HttpConnectionManager, headers: Headers) -> None:
    """Tell the application who called, in x-forwarded-client-cert."""
    modes = _Manager.ForwardClientCertDetails
    wanted = headers.forwarded_client_cert or "APPEND_FORWARD"
    manager.forward_client_cert_details = modes.Value(wanted)
    details = manager.set_current_client_cert_details
    details.subject.value = headers.cert_subject
    details.cert = headers.cert
    details.chain = headers.cert_chain
    details.dns = headers.cert_dns
    details.uri = headers.cert_uri


def limit(manager: hcm.HttpConnectionManager, limits: Connections) -> None:
    """Set limits of the connections and requests that an HTTP connection manager takes."""
    times = {
        "stream_idle_timeout": limits.stream_idle_timeout,
        "request_timeout": limits.request_timeout,
        "request_headers_timeout": limits.headers_timeout,
        "drain_timeout": limits.drain_timeout,
    }
    for name, time in times.items():
        if time is not None:
            getattr(manager, name).CopyFrom(typed.milliseconds(time))
    _limit_connections(manager, limits)
    windows = {
        "max_concurrent_streams": limits.max_streams,
        "initial_stream_window_size": limits.stream_window,
        "initial_connection_window_size": limits.connection_window,
    }
    for name, number in windows.items():
        if number is not None:
            getattr(manager.http2_protocol_options, name).value = number
    if limits.merge_slashes is not None:
        manager.merge_slashes = limits.merge_slashes
    if limits.escaped_slashes:
        actions = _Manager.PathWithEscapedSlashesAction
        manager.path_with_escaped_slashes_action = actions.Value(limits.escaped_slashes)


def _limit_connections(manager: hcm.HttpConnectionManager, limits: Connections) -> None:
    times = {
        "idle_timeout": limits.idle_timeout,
        "max_connection_duration": limits.max_duration,
        "max_stream_duration": limits.max_stream_duration,
    }
    for name, time in times.items():
        if time is not None:
            options = manager.common_http_protocol_options
            getattr(options, name).CopyFrom(typed.milliseconds(time))
    if limits.underscores:
        actions = HttpProtocolOptions.HeadersWithUnderscoresAction
        action = actions.Value(limits.underscores)
        manager.common_http_protocol_options.headers_with_underscores_action = action


def count_attempts(host: VirtualHost, headers: Headers) -> VirtualHost:
    """Tell servers which attempt a request is, and the host that was asked for; return `host`."""
    host.include_request_attempt_count = headers.attempt_count
    for route in host.routes if headers.forwarded_host else ():
        if route.HasField("route"):
            route.route.append_x_forwarded_host = True
    return host
