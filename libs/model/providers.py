"""Extension providers: the servers that a mesh offers to policies by name.

`host` is the full name of a service of the mesh, `port` one of its ports. Times are milliseconds.
"""

from msgspec import Struct

Headers = tuple[tuple[str, str], ...]
"""Names and values."""


class Authorizer(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag=True):
    """A server that decides about requests. `http` speaks plain HTTP, else Envoy's gRPC service."""

    name: str
    host: str
    port: int
    http: bool = False
    timeout: int = 600_000
    fail_open: bool = False
    status_on_error: int = 403
    clear_route_cache: bool = False
    path_prefix: str = ""
    request_headers: tuple[str, ...] = ()  # that it is shown; patterns as in policies
    additional_headers: dict[str, str] = {}
    upstream_on_allow: tuple[str, ...] = ()
    downstream_on_deny: tuple[str, ...] = ()
    downstream_on_allow: tuple[str, ...] = ()
    max_body: int = 0  # bytes; 0: bodies are not shown
    partial_body: bool = False
    body_as_bytes: bool = False


class Zipkin(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag=True):
    """A collector of spans in Zipkin's format."""

    name: str
    host: str
    port: int
    path: str = "/api/v2/spans"
    max_tag_length: int = 0
    long_trace_ids: bool = True
    timeout: int = 5_000
    headers: Headers = ()
    w3c: bool = False  # the context is handed on in W3C's headers, too


class Sampler(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Dynatrace's sampler: it decides what is traced, by what `host` tells it over HTTP."""

    tenant: str
    cluster_id: int
    host: str
    port: int
    path: str
    timeout: int = 10_000
    headers: Headers = ()
    root_spans_per_minute: int = 0  # until it is told; 0: Envoy's own


class OpenTelemetry(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag=True):
    """A collector of spans in OpenTelemetry's format; over gRPC unless it has a path."""

    name: str
    host: str
    port: int
    path: str = ""
    timeout: int = 10_000
    headers: Headers = ()  # over gRPC: initial metadata
    max_tag_length: int = 0
    environment: bool = False  # spans say what OTEL_RESOURCE_ATTRIBUTES says
    dynatrace: bool = False  # and what Dynatrace's files on the machine say
    semantic: bool = False  # services are named as OpenTelemetry has it for Kubernetes
    sampler: Sampler | None = None


class SkyWalking(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag=True):
    """A collector of spans in SkyWalking's format, over gRPC."""

    name: str
    host: str
    port: int
    token: str = ""


class Datadog(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag=True):
    """A collector of spans in Datadog's format."""

    name: str
    host: str
    port: int
    max_tag_length: int = 0


class FileLog(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag=True):
    """A file of access logs: as text, or as JSON if there are labels."""

    name: str
    path: str = "/dev/stdout"
    text: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    omit_empty: bool = False  # what has no value is left out, not written as `-`


class OpenTelemetryLog(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag=True):
    """A collector of access logs in OpenTelemetry's format, over gRPC."""

    name: str
    host: str
    port: int
    log_name: str = ""
    text: str = ""
    labels: tuple[tuple[str, str], ...] = ()


class GrpcLog(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag=True):
    """A collector that speaks Envoy's own access log service: of requests, or of connections."""

    name: str
    host: str
    port: int
    http: bool = False
    log_name: str = ""
    filter_state: tuple[str, ...] = ()
    request_headers: tuple[str, ...] = ()
    response_headers: tuple[str, ...] = ()
    response_trailers: tuple[str, ...] = ()


class Prometheus(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag=True):
    """The standard metrics, on the proxy's own page."""

    name: str


Tracer = Zipkin | OpenTelemetry | SkyWalking | Datadog
Logger = FileLog | OpenTelemetryLog | GrpcLog
Provider = Authorizer | Tracer | Logger | Prometheus
