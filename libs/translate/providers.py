"""Extension providers: from MeshConfig to the model, each kind in its own form."""

from collections.abc import Iterator

from libs.api import extension_providers as api
from libs.api import mesh_parts as mesh
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
    if one.envoy_file_access_log:
        yield _file(one.name, one.envoy_file_access_log)
    if one.envoy_otel_als:
        yield _log(one.name, one.envoy_otel_als)
    if one.prometheus is not None:
        yield model.Prometheus(name=one.name)


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


def _zipkin(name: str, it: api.Zipkin) -> model.Zipkin:
    return model.Zipkin(
        name=name,
        host=_host(it.service),
        port=it.port,
        path=it.path or "/api/v2/spans",
        max_tag_length=it.max_tag_length,
        long_trace_ids=not it.enable64bit_trace_id,
    )


def _opentelemetry(name: str, it: api.OpenTelemetryTracing) -> model.OpenTelemetry:
    http = it.http or api.TracingHttp()
    return model.OpenTelemetry(
        name=name,
        host=_host(it.service),
        port=it.port,
        path=(http.path or "/v1/traces") if it.http else "",
        timeout=http.timeout or 10_000,
        headers=tuple((header.name, header.value) for header in http.headers if header.value),
        max_tag_length=it.max_tag_length,
    )


def _file(name: str, it: api.FileLog) -> model.FileLog:
    layout = it.log_format or api.LogFormat()
    return model.FileLog(
        name=name,
        path=it.path or "/dev/stdout",
        text=layout.text,
        labels=tuple(layout.labels.items()),
    )


def _log(name: str, it: api.OpenTelemetryLog) -> model.OpenTelemetryLog:
    layout = it.log_format or api.LogFormat()
    return model.OpenTelemetryLog(
        name=name,
        host=_host(it.service),
        port=it.port,
        log_name=it.log_name,
        text=layout.text,
        labels=tuple(layout.labels.items()),
    )


def _host(service: str) -> str:
    """The host of `<namespace>/<host>`: a name of the mesh is enough to find its service."""
    return service.rpartition("/")[2].lower()
