"""Extension providers of MeshConfig: servers that policies use by name.

Kinds that Istio has and the mesh does not are read as they are, so that they can be told apart from
spelling mistakes; a policy that names one of those is told that it has no effect.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from libs.api import reasons
from libs.api.path import Path
from libs.api.provider_kinds import (
    Datadog,
    FileLog,
    HttpGrpcLog,
    OpenTelemetryLog,
    OpenTelemetryTracing,
    Port,
    SkyWalking,
    TcpGrpcLog,
    Text,
    TracingGrpc,
    TracingHeader,
    TracingHttp,
    Zipkin,
)
from libs.api.report import Report
from libs.api.resource import Message
from libs.api.scalars import Duration, JsonObject, UInt32
from libs.api.validate.access_log import check_file
from libs.api.validate.durations import check_idle_timeout
from libs.api.validate.providers import (
    check_added,
    check_call,
    check_collector_headers,
    check_log_format,
)
from libs.api.validate.single_line import check_line


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


class ExtensionProvider(Message, frozen=True):
    """One provider; exactly one of the kinds is set."""

    name: Text
    envoy_ext_authz_http: HttpAuthorizer | None = None
    envoy_ext_authz_grpc: GrpcAuthorizer | None = None
    zipkin: Zipkin | None = None
    opentelemetry: OpenTelemetryTracing | None = None
    envoy_file_access_log: FileLog | None = None
    envoy_otel_als: OpenTelemetryLog | None = None
    envoy_http_als: HttpGrpcLog | None = None
    envoy_tcp_als: TcpGrpcLog | None = None
    datadog: Datadog | None = None
    skywalking: SkyWalking | None = None
    prometheus: JsonObject | None = None
    # Istio's, and not the mesh's.
    lightstep: JsonObject | None = None
    opencensus: JsonObject | None = None
    sds: JsonObject | None = None
    stackdriver: JsonObject | None = None


FOREIGN = {
    "lightstep": "Envoy has no such tracer any more, and Istio's has no effect either: "
    "Lightstep takes OpenTelemetry",
    "opencensus": "Envoy has no such tracer any more, and Istio's has no effect either: "
    "write opentelemetry",
    "sds": "is for servers of credentials anywhere; one beside the proxy has what sds:// names",
    "stackdriver": "needs a filter that Envoy as it is released does not have: write opentelemetry",
}
"""Kinds that nothing here can be sent to, and why."""

_Timed = TracingHttp | TracingGrpc
_KINDS = tuple(name for name in ExtensionProvider.__struct_fields__ if name != "name")


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
    if why := FOREIGN.get(kind):
        report.warning(path, reasons.UNSUPPORTED_FIELD, f"has no effect: {why}")
    if provider.opentelemetry and kind == "opentelemetry":
        _check_open_telemetry(provider.opentelemetry, path, report)
    if provider.zipkin and kind == "zipkin":
        check_call(provider.zipkin.timeout, (path, "timeout"), report)
        check_collector_headers(provider.zipkin.headers, (path, "headers"), report)
    _check_texts(getattr(provider, kind), path, report)


def _check_texts(it: object, path: Path, report: Report) -> None:
    """Report what a provider of some kind says that Envoy would refuse."""
    if isinstance(it, HttpAuthorizer):
        _check_authorizer(it, path, report)
    if isinstance(it, GrpcAuthorizer):
        check_idle_timeout(it.timeout, (path, "timeout"), report)
    if isinstance(it, FileLog):
        check_file(it.path, (path, "path"), report)
    if isinstance(it, FileLog | OpenTelemetryLog):
        check_log_format(it.log_format, (path, "logFormat"), report)


def _check_authorizer(it: HttpAuthorizer, path: Path, report: Report) -> None:
    if it.path_prefix and not it.path_prefix.startswith("/"):
        report.error((path, "pathPrefix"), reasons.INVALID_VALUE, "must begin with /")
    if it.timeout:  # 0: authorizers are waited for
        check_call(it.timeout, (path, "timeout"), report)
    check_line(it.path_prefix, (path, "pathPrefix"), report)
    added = (path, "includeAdditionalHeadersInCheck")
    check_added(it.include_additional_headers_in_check, added, report)


def _check_open_telemetry(it: OpenTelemetryTracing, path: Path, report: Report) -> None:
    if it.http and it.grpc:
        text = "http and grpc exclude each other: spans are sent over http"
        report.warning((path, "grpc"), reasons.NO_EFFECT, text)
    for place, service in _transports(it, path):
        check_call(service.timeout, (place, "timeout"), report)
    for place, headers in _headers(it, path):
        check_collector_headers(headers, place, report)
    sampler, place = it.dynatrace_sampler, (path, "dynatraceSampler")
    if sampler and sampler.http_service:
        _check_service(sampler.http_service, (place, "httpService"), report)
    elif sampler and not it.http:
        text = "needs httpService where spans are not sent over http: who else could be asked?"
        report.error(place, reasons.MISSING_FIELD, text)


def _transports(it: OpenTelemetryTracing, path: Path) -> Iterator[tuple[Path, _Timed]]:
    if it.http:
        yield (path, "http"), it.http
    if it.grpc:
        yield (path, "grpc"), it.grpc
    sampler = it.dynatrace_sampler
    if sampler and sampler.http_service and sampler.http_service.http:
        place = (((path, "dynatraceSampler"), "httpService"), "http")
        yield place, sampler.http_service.http


def _headers(
    it: OpenTelemetryTracing, path: Path
) -> Iterator[tuple[Path, Sequence[TracingHeader]]]:
    for place, service in _transports(it, path):
        if isinstance(service, TracingHttp):
            yield (place, "headers"), service.headers
        else:
            yield (place, "initialMetadata"), service.initial_metadata


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
