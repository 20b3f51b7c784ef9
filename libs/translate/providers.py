"""Extension providers: from MeshConfig to the model, each kind in its own form."""

from collections.abc import Iterable, Iterator

from libs.api import extension_providers as api
from libs.api import mesh_parts as mesh
from libs.api import provider_kinds as kinds
from libs.model import providers as model
from libs.model.telemetry import DefaultProviders

_FORBIDDEN = 403


def providers(written: tuple[api.ExtensionProvider, ...]) -> tuple[model.Provider, ...]:
    """Return the providers that the mesh can use, in the order in which they are written."""
    return tuple(found for one in written for found in _of(one))


def default_providers(written: mesh.DefaultProviders | None) -> DefaultProviders:
    """Return the providers that are used where nobody names any."""
    if written is None:
        return DefaultProviders()
    return DefaultProviders(
        tracing=written.tracing or (),
        metrics=written.metrics or (),
        logs=written.access_logging or (),
    )


def _of(one: api.ExtensionProvider) -> Iterator[model.Provider]:
    if one.envoy_ext_authz_http:
        yield _http(one.name, one.envoy_ext_authz_http)
    if one.envoy_ext_authz_grpc:
        yield _grpc(one.name, one.envoy_ext_authz_grpc)
    if one.zipkin:
        yield _zipkin(one.name, one.zipkin)
    if one.opentelemetry:
        yield _opentelemetry(one.name, one.opentelemetry)
    if one.skywalking:
        yield _skywalking(one.name, one.skywalking)
    if one.datadog:
        yield _datadog(one.name, one.datadog)
    yield from _logs(one)
    if one.prometheus is not None:
        yield model.Prometheus(name=one.name)


def _logs(one: api.ExtensionProvider) -> Iterator[model.Logger]:
    if one.envoy_file_access_log:
        yield _file(one.name, one.envoy_file_access_log)
    if one.envoy_otel_als:
        yield _log(one.name, one.envoy_otel_als)
    if one.envoy_http_als:
        yield _requests(one.name, one.envoy_http_als)
    if one.envoy_tcp_als:
        yield _connections(one.name, one.envoy_tcp_als)


def _http(name: str, it: api.HttpAuthorizer) -> model.Authorizer:
    body = it.include_request_body_in_check or api.RequestBody()
    return model.Authorizer(
        name=name,
        host=_host(it.service),
        port=it.port,
        http=True,
        timeout=it.timeout or 600_000,
        fail_open=it.fail_open,
        status_on_error=int(it.status_on_error or _FORBIDDEN),
        clear_route_cache=it.clear_route_cache,
        path_prefix=it.path_prefix,
        request_headers=it.include_request_headers_in_check or it.include_headers_in_check,
        additional_headers=it.include_additional_headers_in_check,
        upstream_on_allow=it.headers_to_upstream_on_allow,
        downstream_on_deny=it.headers_to_downstream_on_deny,
        downstream_on_allow=it.headers_to_downstream_on_allow,
        max_body=body.max_request_bytes,
        partial_body=body.allow_partial_message,
        body_as_bytes=body.pack_as_bytes,
    )


def _grpc(name: str, it: api.GrpcAuthorizer) -> model.Authorizer:
    body = it.include_request_body_in_check or api.RequestBody()
    return model.Authorizer(
        name=name,
        host=_host(it.service),
        port=it.port,
        timeout=it.timeout or 600_000,
        fail_open=it.fail_open,
        status_on_error=int(it.status_on_error or _FORBIDDEN),
        clear_route_cache=it.clear_route_cache,
        max_body=body.max_request_bytes,
        partial_body=body.allow_partial_message,
        body_as_bytes=body.pack_as_bytes,
    )


def _zipkin(name: str, it: kinds.Zipkin) -> model.Zipkin:
    return model.Zipkin(
        name=name,
        host=_host(it.service),
        port=it.port,
        path=it.path or "/api/v2/spans",
        max_tag_length=it.max_tag_length,
        long_trace_ids=not it.enable64bit_trace_id,
        timeout=it.timeout or 5_000,
        headers=_headers(it.headers),
        w3c=it.trace_context_option is kinds.TraceContext.USE_B3_WITH_W3C_PROPAGATION,
    )


def _opentelemetry(name: str, it: kinds.OpenTelemetryTracing) -> model.OpenTelemetry:
    http, grpc = it.http or kinds.TracingHttp(), it.grpc or kinds.TracingGrpc()
    detectors = it.resource_detectors or kinds.ResourceDetectors()
    semantic = it.service_attribute_enrichment is kinds.Enrichment.OTEL_SEMANTIC_CONVENTIONS
    return model.OpenTelemetry(
        name=name,
        host=_host(it.service),
        port=it.port,
        path=(http.path or "/v1/traces") if it.http else "",
        timeout=(http.timeout if it.http else grpc.timeout) or 10_000,
        headers=_headers(http.headers if it.http else grpc.initial_metadata),
        max_tag_length=it.max_tag_length,
        environment=detectors.environment is not None or semantic,
        dynatrace=detectors.dynatrace is not None,
        semantic=semantic,
        sampler=_sampler(it.dynatrace_sampler, it) if it.dynatrace_sampler else None,
    )


def _sampler(it: kinds.DynatraceSampler, owner: kinds.OpenTelemetryTracing) -> model.Sampler:
    """Return the sampler, which asks whoever gets the spans unless another is named."""
    asked: kinds.DynatraceApi | kinds.OpenTelemetryTracing = it.http_service or owner
    http = asked.http or kinds.TracingHttp()
    own_path = http.path if it.http_service else ""
    return model.Sampler(
        tenant=it.tenant,
        cluster_id=it.cluster_id,
        root_spans_per_minute=it.root_spans_per_minute,
        host=_host(asked.service),
        port=asked.port,
        path=own_path or "/api/v2/samplingConfiguration",
        timeout=http.timeout or 10_000,
        headers=_headers(http.headers),
    )


def _headers(written: Iterable[kinds.TracingHeader]) -> model.Headers:
    return tuple((header.name, header.value) for header in written if header.value)


def _skywalking(name: str, it: kinds.SkyWalking) -> model.SkyWalking:
    return model.SkyWalking(name=name, host=_host(it.service), port=it.port, token=it.access_token)


def _datadog(name: str, it: kinds.Datadog) -> model.Datadog:
    return model.Datadog(
        name=name, host=_host(it.service), port=it.port, max_tag_length=it.max_tag_length
    )


def _file(name: str, it: kinds.FileLog) -> model.FileLog:
    layout = it.log_format or kinds.LogFormat()
    return model.FileLog(
        name=name,
        path=it.path or "/dev/stdout",
        text=layout.text,
        labels=tuple(layout.labels.items()),
        omit_empty=it.omit_empty_values,
    )


def _log(name: str, it: kinds.OpenTelemetryLog) -> model.OpenTelemetryLog:
    layout = it.log_format or kinds.LogFormat()
    return model.OpenTelemetryLog(
        name=name,
        host=_host(it.service),
        port=it.port,
        log_name=it.log_name,
        text=layout.text,
        labels=tuple(layout.labels.items()),
    )


def _requests(name: str, it: kinds.HttpGrpcLog) -> model.GrpcLog:
    return model.GrpcLog(
        name=name,
        host=_host(it.service),
        port=it.port,
        http=True,
        log_name=it.log_name or "http_envoy_accesslog",
        filter_state=it.filter_state_objects_to_log,
        request_headers=it.additional_request_headers_to_log,
        response_headers=it.additional_response_headers_to_log,
        response_trailers=it.additional_response_trailers_to_log,
    )


def _connections(name: str, it: kinds.TcpGrpcLog) -> model.GrpcLog:
    return model.GrpcLog(
        name=name,
        host=_host(it.service),
        port=it.port,
        log_name=it.log_name or "tcp_envoy_accesslog",
        filter_state=it.filter_state_objects_to_log,
    )


def _host(service: str) -> str:
    """The host of `<namespace>/<host>`: a name of the mesh is enough to find its service."""
    return service.rpartition("/")[2].lower()
