"""ProxyDefaults: `defaultConfig` of MeshConfig, and what the annotation of a pod lays over it.

Istio calls this type ProxyConfig, as it also calls the kind `libs.api.networking.proxy_config`. The
control plane reads little of it; agents read it from their environment. None is absent.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from libs.api.networking.destination_rule import ClientTls, TcpKeepalive
from libs.api.networking.proxy_config import ProxyImage
from libs.api.networking.workload_group import ReadinessProbe
from libs.api.resource import Message
from libs.api.scalars import Duration, Int32, UInt32

ANNOTATION = "proxy.istio.io/config"
"""Of a pod: a YAML text of these fields."""

Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Positive = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Window = Annotated[int, Meta(ge=65535, le=2**31 - 1)]


class AuthenticationPolicy(StrEnum):
    """How a proxy speaks to the control plane."""

    NONE = "NONE"
    MUTUAL_TLS = "MUTUAL_TLS"


class ServiceNaming(StrEnum):
    """What a workload is called in traces."""

    APP_LABEL_AND_NAMESPACE = "APP_LABEL_AND_NAMESPACE"
    CANONICAL_NAME_ONLY = "CANONICAL_NAME_ONLY"
    CANONICAL_NAME_AND_NAMESPACE = "CANONICAL_NAME_AND_NAMESPACE"


class Interception(StrEnum):
    """How traffic comes to a sidecar."""

    REDIRECT = "REDIRECT"
    TPROXY = "TPROXY"
    NONE = "NONE"


class Collector(Message, frozen=True):
    """A collector of spans, at `host:port`."""

    address: str = ""


class Lightstep(Message, frozen=True):
    """A collector of Lightstep."""

    address: str = ""
    access_token: str = ""


class Stackdriver(Message, frozen=True):
    """Google's collector."""

    debug: bool = False
    max_number_of_attributes: int | None = None
    max_number_of_annotations: int | None = None
    max_number_of_message_events: int | None = None


class TraceContext(StrEnum):
    """A form of trace headers."""

    UNSPECIFIED = "UNSPECIFIED"
    W3C_TRACE_CONTEXT = "W3C_TRACE_CONTEXT"
    GRPC_BIN = "GRPC_BIN"
    CLOUD_TRACE_CONTEXT = "CLOUD_TRACE_CONTEXT"
    B3 = "B3"


class OpenCensusAgent(Message, frozen=True):
    """A collector of OpenCensus."""

    address: str = ""
    context: tuple[TraceContext, ...] = ()


class TagLiteral(Message, frozen=True):
    """A fixed value."""

    value: str = ""


class TagSource(Message, frozen=True):
    """The value of a variable or of a header."""

    name: str = ""
    default_value: str = ""


class TracingTag(Message, frozen=True):
    """Where the value of a tag comes from; at most one is set."""

    literal: TagLiteral | None = None
    environment: TagSource | None = None
    header: TagSource | None = None


class ProxyTracing(Message, frozen=True):
    """How spans are made, and where they go; at most one collector is set."""

    zipkin: Collector | None = None
    lightstep: Lightstep | None = None
    datadog: Collector | None = None
    stackdriver: Stackdriver | None = None
    open_census_agent: OpenCensusAgent | None = None
    custom_tags: dict[str, TracingTag] = {}
    max_path_tag_length: UInt32 = 0
    sampling: float | None = None
    tls_settings: ClientTls | None = None
    enable_istio_tags: bool | None = None


class Sds(Message, frozen=True):
    """What once switched secret discovery on."""

    enabled: bool = False
    k8s_sa_jwt_path: str = ""


class RemoteService(Message, frozen=True):
    """A server of Envoy's own services, at `host:port`."""

    address: str = ""
    tls_settings: ClientTls | None = None
    tcp_keepalive: TcpKeepalive | None = None


class ForwardClientCertDetails(StrEnum):
    """What becomes of the header that names a client's certificate."""

    UNDEFINED = "UNDEFINED"
    SANITIZE = "SANITIZE"
    FORWARD_ONLY = "FORWARD_ONLY"
    APPEND_FORWARD = "APPEND_FORWARD"
    SANITIZE_SET = "SANITIZE_SET"
    ALWAYS_FORWARD_ONLY = "ALWAYS_FORWARD_ONLY"


class AcceptProxyProtocol(Message, frozen=True):
    """There is nothing to set."""


class Topology(Message, frozen=True):
    """What stands before a gateway."""

    num_trusted_proxies: UInt32 = 0
    forward_client_cert_details: ForwardClientCertDetails = ForwardClientCertDetails.UNDEFINED
    proxy_protocol: AcceptProxyProtocol | None = None


class StatsMatcher(Message, frozen=True):
    """Statistics to keep beside those that are always kept."""

    inclusion_prefixes: tuple[str, ...] = ()
    inclusion_suffixes: tuple[str, ...] = ()
    inclusion_regexps: tuple[str, ...] = ()


class Accelerator(Message, frozen=True):
    """Hardware that signs."""

    poll_delay: Duration | None = None
    fallback: bool | None = None


class PrivateKeyProvider(Message, frozen=True):
    """Who signs; exactly one is set."""

    cryptomb: Accelerator | None = None
    qat: Accelerator | None = None


class Disabled(Message, frozen=True):
    """A header that may be left out."""

    disabled: bool | None = None


class Enabled(Message, frozen=True):
    """A header that may be added."""

    enabled: bool | None = None


class ServerHeader(Message, frozen=True):
    """The header `server`."""

    disabled: bool | None = None
    value: str = ""


class ExchangeMode(StrEnum):
    """Who is told about this workload."""

    UNDEFINED = "UNDEFINED"
    IN_MESH = "IN_MESH"


class ExchangeHeaders(Message, frozen=True):
    """The headers by which proxies tell each other about their workloads."""

    mode: ExchangeMode = ExchangeMode.UNDEFINED


class ClientCertDetails(Message, frozen=True):
    """What is told of a client's certificate."""

    subject: bool | None = None
    cert: bool | None = None
    chain: bool | None = None
    dns: bool | None = None
    uri: bool | None = None


class ProxyHeaders(Message, frozen=True):
    """Headers that a proxy adds or leaves out."""

    forwarded_client_cert: ForwardClientCertDetails = ForwardClientCertDetails.UNDEFINED
    set_current_client_cert_details: ClientCertDetails | None = None
    request_id: Disabled | None = None
    server: ServerHeader | None = None
    attempt_count: Disabled | None = None
    envoy_debug_headers: Disabled | None = None
    metadata_exchange_headers: ExchangeHeaders | None = None
    preserve_http1_header_case: bool | None = None
    x_forwarded_host: Enabled | None = None
    x_forwarded_port: Enabled | None = None


class Profile(StrEnum):
    """Whom a proxy serves: the mesh, or anybody."""

    SIDECAR = "SIDECAR"
    EDGE = "EDGE"


class UnderscoresAction(StrEnum):
    """What becomes of requests with underscores in the names of headers."""

    UNSPECIFIED = "HEADERS_WITH_UNDERSCORES_UNSPECIFIED"
    ALLOW = "HEADERS_WITH_UNDERSCORES_ALLOW"
    REJECT_REQUEST = "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST"
    DROP_HEADER = "HEADERS_WITH_UNDERSCORES_DROP_HEADER"


class EscapedSlashesAction(StrEnum):
    """What becomes of requests with escaped slashes in the path."""

    UNSPECIFIED = "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED"
    KEEP_UNCHANGED = "KEEP_UNCHANGED"
    REJECT_REQUEST = "REJECT_REQUEST"
    UNESCAPE_AND_REDIRECT = "UNESCAPE_AND_REDIRECT"
    UNESCAPE_AND_FORWARD = "UNESCAPE_AND_FORWARD"


class ConnectionSettings(Message, frozen=True):
    """Limits of what a proxy accepts."""

    profile: Profile = Profile.SIDECAR
    listener_per_connection_buffer_limit_bytes: Count | None = None
    cluster_per_connection_buffer_limit_bytes: Count | None = None
    http_idle_timeout: Duration | None = None
    http_max_connection_duration: Duration | None = None
    http_drain_timeout: Duration | None = None
    http_request_timeout: Duration | None = None
    http_request_headers_timeout: Duration | None = None
    http_stream_idle_timeout: Duration | None = None
    http_max_stream_duration: Duration | None = None
    http_max_concurrent_streams: Positive | None = None
    http2_initial_stream_window_size: Window | None = None
    http2_initial_connection_window_size: Window | None = None
    http_headers_with_underscores_action: UnderscoresAction = UnderscoresAction.UNSPECIFIED
    http_merge_slashes: bool | None = None
    http_path_with_escaped_slashes_action: EscapedSlashesAction = EscapedSlashesAction.UNSPECIFIED
    listener_connection_limit: Positive | None = None
    global_downstream_connection_limit: Positive | None = None


class ProxyDefaults(Message, frozen=True):
    """All of it."""

    config_path: str | None = None
    binary_path: str | None = None
    service_cluster: str | None = None
    tracing_service_name: ServiceNaming | None = None
    drain_duration: Duration | None = None
    discovery_address: str | None = None
    discovery_refresh_delay: Duration | None = None
    zipkin_address: str | None = None
    statsd_udp_address: str | None = None
    envoy_metrics_service_address: str | None = None
    proxy_admin_port: Int32 | None = None
    availability_zone: str | None = None
    control_plane_auth_policy: AuthenticationPolicy | None = None
    custom_config_file: str | None = None
    stat_name_length: Int32 | None = None
    concurrency: Count | None = None
    proxy_bootstrap_template_path: str | None = None
    interception_mode: Interception | None = None
    tracing: ProxyTracing | None = None
    sds: Sds | None = None
    envoy_access_log_service: RemoteService | None = None
    envoy_metrics_service: RemoteService | None = None
    proxy_metadata: dict[str, str] = {}
    runtime_values: dict[str, str] = {}
    status_port: Int32 | None = None
    extra_stat_tags: tuple[str, ...] = ()
    gateway_topology: Topology | None = None
    termination_drain_duration: Duration | None = None
    mesh_id: str = ""
    readiness_probe: ReadinessProbe | None = None
    proxy_stats_matcher: StatsMatcher | None = None
    hold_application_until_proxy_starts: bool | None = None
    ca_certificates_pem: tuple[str, ...] = ()
    image: ProxyImage | None = None
    private_key_provider: PrivateKeyProvider | None = None
    proxy_headers: ProxyHeaders | None = None
    file_flush_interval: Duration | None = None
    file_flush_min_size_kb: UInt32 | None = None
    stats_compression: bool | None = None
    connection_settings: ConnectionSettings | None = None
