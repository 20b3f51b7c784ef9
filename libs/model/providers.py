"""Extension providers: the servers that a mesh offers to policies by name.

`host` is the full name of a service of the mesh, `port` one of its ports. Times are milliseconds.
"""

from msgspec import Struct


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


class OpenTelemetry(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag=True):
    """A collector of spans in OpenTelemetry's format; over gRPC unless it has a path."""

    name: str
    host: str
    port: int
    path: str = ""
    timeout: int = 10_000
    headers: tuple[tuple[str, str], ...] = ()
    max_tag_length: int = 0


class FileLog(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag=True):
    """A file of access logs: as text, or as JSON if there are labels."""

    name: str
    path: str = "/dev/stdout"
    text: str = ""
    labels: tuple[tuple[str, str], ...] = ()


class OpenTelemetryLog(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag=True):
    """A collector of access logs in OpenTelemetry's format, over gRPC."""

    name: str
    host: str
    port: int
    log_name: str = ""
    text: str = ""
    labels: tuple[tuple[str, str], ...] = ()


class Prometheus(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag=True):
    """The standard metrics, on the proxy's own page."""

    name: str


Provider = Authorizer | Zipkin | OpenTelemetry | FileLog | OpenTelemetryLog | Prometheus
