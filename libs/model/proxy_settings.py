"""Proxy settings: what one proxy is told about itself besides the mesh, as ProxyConfig gives it.

Only what decides the proxy's xDS configuration stands here; the rest is read by its agent. Times
are milliseconds, and None leaves it to whoever generates.
"""

from msgspec import Struct

from libs.model.traffic import ClientTls

Tag = tuple[str, str, str, str]
"""Of a span: name; literal, environment, header or format; value or name; default."""


class Connections(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Limits of what a proxy accepts."""

    edge: bool = False  # routers take Envoy's advice for the edge of a network where nothing is set
    listener_buffer: int | None = None  # bytes
    cluster_buffer: int | None = None  # bytes
    idle_timeout: int | None = None
    max_duration: int | None = None
    drain_timeout: int | None = None
    request_timeout: int | None = None
    headers_timeout: int | None = None
    stream_idle_timeout: int | None = None
    max_stream_duration: int | None = None
    max_streams: int | None = None
    stream_window: int | None = None  # bytes
    connection_window: int | None = None  # bytes
    underscores: str = ""  # ALLOW, REJECT_REQUEST or DROP_HEADER
    merge_slashes: bool | None = None
    escaped_slashes: str = ""  # as Envoy calls it


class Headers(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Headers that a proxy adds, keeps or leaves out."""

    forwarded_client_cert: str = ""  # of sidecars, as Envoy calls it
    cert_subject: bool = True  # of these, what a sidecar says of a client's certificate
    cert_uri: bool = True
    cert_dns: bool = True
    cert: bool = False
    cert_chain: bool = False
    request_id: bool = True
    server: str = ""
    keep_server: bool = False  # the application's own stays
    attempt_count: bool = True
    debug: bool = True
    keep_case: bool = False  # of names, in HTTP/1
    forwarded_host: bool = False
    forwarded_port: bool = False


class Collector(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Where a proxy's spans go if no provider is named: a server at an address, in no mesh."""

    host: str
    port: int
    datadog: bool = False  # speaks Datadog's protocol; else Zipkin's
    tls: ClientTls | None = None


class SpanDefaults(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """How spans are made where no Telemetry says so."""

    sampling: float | None = None  # percent
    tags: tuple[Tag, ...] = ()
    max_path_length: int = 0
    mesh_tags: bool = True  # who the workload is
    collector: Collector | None = None


class ProxySettings(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """All of it; Istio's defaults."""

    trusted_proxies: int = 0  # in front of gateways: whose X-Forwarded-For counts
    forward_client_cert: str = "SANITIZE_SET"  # of gateways
    accept_proxy_protocol: bool = False  # at gateways
    connections: Connections = Connections()
    headers: Headers = Headers()
    spans: SpanDefaults = SpanDefaults()
