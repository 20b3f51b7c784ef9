"""Extension providers of MeshConfig: servers that policies use by name.

Kinds that Istio has and the mesh does not are read as they are, so that they can be told apart from
spelling mistakes; a policy that names one of those is told that it has no effect.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report
from libs.api.resource import Message
from libs.api.scalars import Duration, JsonObject, UInt32

Text = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=1, le=65535)]


class RequestBody(Message, frozen=True):
    """How much of a body an authorizer is shown."""

    max_request_bytes: UInt32 = 0
    allow_partial_message: bool = False
    pack_as_bytes: bool = False


class HttpAuthorizer(Message, frozen=True):
    """An authorizer that speaks plain HTTP."""

    service: Text
    port: Port
    timeout: Duration | None = None
    path_prefix: str = ""
    fail_open: bool = False
    status_on_error: str = ""
    clear_route_cache: bool = False
    include_headers_in_check: tuple[str, ...] = ()
    include_request_headers_in_check: tuple[str, ...] = ()
    include_additional_headers_in_check: dict[str, str] = {}
    include_request_body_in_check: RequestBody | None = None
    headers_to_upstream_on_allow: tuple[str, ...] = ()
    headers_to_downstream_on_deny: tuple[str, ...] = ()
    headers_to_downstream_on_allow: tuple[str, ...] = ()


class GrpcAuthorizer(Message, frozen=True):
    """An authorizer that speaks Envoy's own protocol."""

    service: Text
    port: Port
    timeout: Duration | None = None
    fail_open: bool = False
    status_on_error: str = ""
    clear_route_cache: bool = False
    include_request_body_in_check: RequestBody | None = None


class Zipkin(Message, frozen=True):
    """A collector of spans."""

    service: Text
    port: Port
    max_tag_length: UInt32 = 0
    enable64bit_trace_id: bool = False
    path: str = ""


class TracingHeader(Message, frozen=True):
    """A header of the collector's requests."""

    name: Text
    value: str = ""
    env_name: str = ""


class TracingHttp(Message, frozen=True):
    """How spans are sent over HTTP."""

    path: str = ""
    timeout: Duration | None = None
    headers: tuple[TracingHeader, ...] = ()


class OpenTelemetryTracing(Message, frozen=True):
    """A collector of spans."""

    service: Text
    port: Port
    max_tag_length: UInt32 = 0
    http: TracingHttp | None = None
    grpc: JsonObject | None = None
    resource_detectors: JsonObject | None = None
    dynatrace_sampler: JsonObject | None = None


class LogFormat(Message, frozen=True):
    """How a line is written: as text, or as fields."""

    text: str = ""
    labels: dict[str, str] = {}


class FileLog(Message, frozen=True):
    """A file of access logs."""

    path: str = ""
    log_format: LogFormat | None = None
    omit_empty_values: bool = False


class OpenTelemetryLog(Message, frozen=True):
    """A collector of access logs."""

    service: Text
    port: Port
    log_name: str = ""
    log_format: LogFormat | None = None


class ExtensionProvider(Message, frozen=True):
    """One provider; exactly one of the kinds is set."""

    name: Text
    envoy_ext_authz_http: HttpAuthorizer | None = None
    envoy_ext_authz_grpc: GrpcAuthorizer | None = None
    zipkin: Zipkin | None = None
    opentelemetry: OpenTelemetryTracing | None = None
    envoy_file_access_log: FileLog | None = None
    envoy_otel_als: OpenTelemetryLog | None = None
    prometheus: JsonObject | None = None
    # Istio's, and not the mesh's.
    datadog: JsonObject | None = None
    envoy_http_als: JsonObject | None = None
    envoy_tcp_als: JsonObject | None = None
    lightstep: JsonObject | None = None
    opencensus: JsonObject | None = None
    sds: JsonObject | None = None
    skywalking: JsonObject | None = None
    stackdriver: JsonObject | None = None


FOREIGN = (
    "datadog",
    "envoy_http_als",
    "envoy_tcp_als",
    "lightstep",
    "opencensus",
    "sds",
    "skywalking",
    "stackdriver",
)
"""Kinds that nothing here can be sent to."""

_KINDS = tuple(name for name in ExtensionProvider.__struct_fields__ if name != "name")
_UNREAD = (
    ("opentelemetry", "grpc"),
    ("opentelemetry", "resource_detectors"),
    ("opentelemetry", "dynatrace_sampler"),
    ("envoy_file_access_log", "omit_empty_values"),
)


def check_providers(providers: Sequence[ExtensionProvider], path: Path, report: Report) -> None:
    """Report providers that cannot be, or that have no effect."""
    names = Counter(provider.name for provider in providers)
    for index, provider in enumerate(providers):
        place: Path = (path, index)
        if names[provider.name] > 1:
            text = f"the name {provider.name[:100]!r} is there twice"
            report.error((place, "name"), reasons.CONFLICTING_FIELDS, text)
        written = [kind for kind in _KINDS if getattr(provider, kind) is not None]
        if len(written) != 1:
            report.error(place, reasons.CONFLICTING_FIELDS, "exactly one kind has to be set")
        for kind in written:
            _check_service(getattr(provider, kind), (place, _camel(kind)), report)
            _check_effect(provider, kind, (place, _camel(kind)), report)


def _check_effect(provider: ExtensionProvider, kind: str, path: Path, report: Report) -> None:  # noqa: PLR0917
    if kind in FOREIGN:
        text = "providers of this kind are not supported, and have no effect"
        report.warning(path, reasons.UNSUPPORTED_FIELD, text)
    if provider.opentelemetry and provider.opentelemetry.http:
        for index, header in enumerate(provider.opentelemetry.http.headers):
            if header.env_name:
                place = ((((path, "http"), "headers"), index), "envName")
                text = "is not read: the control plane keeps its environment to itself"
                report.warning(place, reasons.UNSUPPORTED_FIELD, text)
    for owner, name in _UNREAD:
        if owner == kind and getattr(getattr(provider, kind), name):
            report.warning((path, _camel(name)), reasons.UNSUPPORTED_FIELD, "has no effect yet")


def _check_service(kind: object, path: Path, report: Report) -> None:
    service = getattr(kind, "service", None)
    if isinstance(service, str):
        host = service.rpartition("/")[2]
        if not host or "*" in host or service.count("/") > 1:
            text = "must be a host, or a namespace and a host: <namespace>/<host>"
            report.error((path, "service"), reasons.INVALID_HOST, text)
    status = getattr(kind, "status_on_error", "")
    if status and not (status.isascii() and status.isdigit() and 100 <= int(status[:4]) <= 599):
        report.error((path, "statusOnError"), reasons.INVALID_STATUS, "is not a status of HTTP")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
