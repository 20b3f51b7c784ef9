"""Tracing: which requests become spans, what those say, and which collector gets them."""

from collections.abc import Iterator

from envoy.config.core.v3.http_uri_pb2 import HttpUri
from envoy.config.trace.v3.http_tracer_pb2 import Tracing as Tracer
from envoy.config.trace.v3.opentelemetry_pb2 import OpenTelemetryConfig
from envoy.config.trace.v3.zipkin_pb2 import ZipkinConfig
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.type.tracing.v3.custom_tag_pb2 import CustomTag

from libs.model.providers import OpenTelemetry, Zipkin
from libs.model.proxy_settings import Tag
from libs.model.telemetry import Tracing
from libs.proxy.scope import InboundScope
from libs.xds.generate import newer, typed
from libs.xds.names import ClusterName

_EVERYTHING = 100.0
_NO_CONTEXT_PROPAGATION = 13  # the number of HttpConnectionManager.Tracing's field


def tracing(own: InboundScope, wanted: Tracing | None) -> hcm.HttpConnectionManager.Tracing | None:
    """Return how the proxy of `own` traces, or None if it does not."""
    if wanted is None:
        return None
    known = (it for it in own.settings.providers if it.name == wanted.provider)
    provider = next((it for it in known if isinstance(it, Zipkin | OpenTelemetry)), None)
    if provider is None:
        return None
    found = hcm.HttpConnectionManager.Tracing(provider=_tracer(own, provider))
    found.client_sampling.value = _EVERYTHING
    found.random_sampling.value = 0.0 if wanted.disabled else wanted.sampling
    found.overall_sampling.value = 0.0 if wanted.disabled else _EVERYTHING
    if longest := provider.max_tag_length or own.settings.proxy.spans.max_path_length:
        found.max_path_tag_length.value = longest
    tags = (*(_mesh_tags(own) if wanted.mesh_tags else ()), *wanted.tags)
    found.custom_tags.extend(_tag(*tag) for tag in sorted(tags))
    if not wanted.propagate:
        newer.set_true(found, _NO_CONTEXT_PROPAGATION)
    return found


def _mesh_tags(own: InboundScope) -> Iterator[Tag]:
    """Yield the tags by which spans say whose they are."""
    said = {
        "canonical_revision": own.canonical_revision,
        "canonical_service": own.canonical_name,
        "cluster_id": own.settings.cluster_id,
        "mesh_id": own.settings.mesh_id,
        "namespace": own.namespace,
    }
    for name, value in said.items():
        yield f"istio.{name}", "literal", value or "unknown", ""


def _tag(name: str, kind: str, value: str, default: str) -> CustomTag:  # noqa: PLR0917 - one row
    found = CustomTag(tag=name)
    if kind == "environment":
        found.environment.name, found.environment.default_value = value, default
    elif kind == "header":
        found.request_header.name, found.request_header.default_value = value, default
    elif kind == "format":
        found.value = value
    else:
        found.literal.value = value
    return found


def _tracer(own: InboundScope, provider: Zipkin | OpenTelemetry) -> Tracer.Http:
    cluster = str(ClusterName(provider.port, "", provider.host))
    if isinstance(provider, Zipkin):
        zipkin = ZipkinConfig(
            collector_cluster=cluster,
            collector_endpoint=provider.path,
            collector_endpoint_version=ZipkinConfig.CollectorEndpointVersion.HTTP_JSON,
            collector_hostname=provider.host,
            trace_id_128bit=provider.long_trace_ids,
        )
        zipkin.shared_span_context.value = False
        return Tracer.Http(name="envoy.tracers.zipkin", typed_config=typed.pack(zipkin))
    config = OpenTelemetryConfig(service_name=f"{own.canonical_name}.{own.namespace}")
    if provider.path:
        service = config.http_service
        service.http_uri.CopyFrom(
            HttpUri(
                uri=f"http://{provider.host}:{provider.port}{provider.path}",
                cluster=cluster,
                timeout=typed.milliseconds(provider.timeout),
            )
        )
        for name, value in provider.headers:
            header = service.request_headers_to_add.add().header
            header.key, header.value = name, value
    else:
        config.grpc_service.envoy_grpc.cluster_name = cluster
        config.grpc_service.envoy_grpc.authority = provider.host
        config.grpc_service.timeout.CopyFrom(typed.milliseconds(provider.timeout))
    return Tracer.Http(name="envoy.tracers.opentelemetry", typed_config=typed.pack(config))
