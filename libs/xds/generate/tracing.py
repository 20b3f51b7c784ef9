"""Tracing: which requests become spans, what those say, and which collector gets them."""

from collections.abc import Iterator

from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.core.v3.http_service_pb2 import HttpService
from envoy.config.core.v3.http_uri_pb2 import HttpUri
from envoy.config.trace.v3.datadog_pb2 import DatadogConfig
from envoy.config.trace.v3.http_tracer_pb2 import Tracing as Tracer
from envoy.config.trace.v3.opentelemetry_pb2 import OpenTelemetryConfig
from envoy.config.trace.v3.skywalking_pb2 import SkyWalkingConfig
from envoy.config.trace.v3.zipkin_pb2 import ZipkinConfig
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.tracers.opentelemetry.resource_detectors.v3 import (
    dynatrace_resource_detector_pb2,
    environment_resource_detector_pb2,
)
from envoy.extensions.tracers.opentelemetry.samplers.v3.dynatrace_sampler_pb2 import (
    DynatraceSamplerConfig,
)
from envoy.type.tracing.v3.custom_tag_pb2 import CustomTag
from google.protobuf.message import Message

from libs.model.providers import Datadog, OpenTelemetry, Sampler, SkyWalking, Zipkin
from libs.model.providers import Tracer as Provider
from libs.model.proxy_settings import Collector, Tag
from libs.model.telemetry import Tracing
from libs.proxy.node import ProxyType
from libs.proxy.scope import InboundScope
from libs.proxy.telemetry import OWN_COLLECTOR
from libs.xds.generate import newer, typed
from libs.xds.names import TRACER_CLUSTERS, ClusterName

_EVERYTHING = 100.0
_NO_CONTEXT_PROPAGATION = 13  # the number of HttpConnectionManager.Tracing's field
_DETECTORS = "envoy.tracers.opentelemetry.resource_detectors"
_ENVIRONMENT = TypedExtensionConfig(
    name=f"{_DETECTORS}.environment",
    typed_config=typed.pack(environment_resource_detector_pb2.EnvironmentResourceDetectorConfig()),
)
_DYNATRACE = TypedExtensionConfig(
    name=f"{_DETECTORS}.dynatrace",
    typed_config=typed.pack(dynatrace_resource_detector_pb2.DynatraceResourceDetectorConfig()),
)


def tracing(own: InboundScope, wanted: Tracing | None) -> hcm.HttpConnectionManager.Tracing | None:
    """Return how the proxy of `own` traces, or None if it does not."""
    if wanted is None:
        return None
    known = (*own.settings.providers, *_own(own.settings.proxy.spans.collector))
    named = (it for it in known if it.name == wanted.provider)
    provider = next((it for it in named if isinstance(it, Provider)), None)
    if provider is None:
        return None
    found = hcm.HttpConnectionManager.Tracing(provider=_tracer(own, provider))
    # A sampler of its own is asked about every request.
    asks = isinstance(provider, OpenTelemetry) and provider.sampler is not None
    found.client_sampling.value = _EVERYTHING
    found.random_sampling.value = _EVERYTHING if asks else wanted.sampling
    found.overall_sampling.value = _EVERYTHING
    if wanted.disabled:
        found.random_sampling.value = found.overall_sampling.value = 0.0
    if own.type is ProxyType.ROUTER or isinstance(provider, SkyWalking):
        found.spawn_upstream_span.value = True
    longest = 0 if isinstance(provider, SkyWalking) else provider.max_tag_length
    if longest := longest or own.settings.proxy.spans.max_path_length:
        found.max_path_tag_length.value = longest
    tags = (*(_mesh_tags(own) if wanted.mesh_tags else ()), *wanted.tags)
    found.custom_tags.extend(_tag(*tag) for tag in sorted(tags))
    if not wanted.propagate:
        newer.set_true(found, _NO_CONTEXT_PROPAGATION)
    return found


def _own(collector: Collector | None) -> Iterator[Provider]:
    """Yield the server that a proxy's own settings name, as a provider without a name."""
    if collector is not None:
        kind = Datadog if collector.datadog else Zipkin
        yield kind(name=OWN_COLLECTOR, host=collector.host, port=collector.port)


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


def _tracer(own: InboundScope, provider: Provider) -> Tracer.Http:
    if isinstance(provider, Zipkin):
        return _named("envoy.tracers.zipkin", _zipkin(provider))
    if isinstance(provider, SkyWalking):
        return _named("envoy.tracers.skywalking", _skywalking(provider))
    if isinstance(provider, Datadog):
        config = DatadogConfig(
            collector_cluster=_cluster(provider),
            collector_hostname=provider.host,
            service_name=_own_name(own),
        )
        return _named("envoy.tracers.datadog", config)
    return _named("envoy.tracers.opentelemetry", _open_telemetry(own, provider))


def _named(name: str, config: Message) -> Tracer.Http:
    return Tracer.Http(name=name, typed_config=typed.pack(config))


def _own_name(own: InboundScope) -> str:
    return f"{own.canonical_name}.{own.namespace}"


def _cluster(server: Provider | Sampler) -> str:
    if not isinstance(server, Sampler) and server.name == OWN_COLLECTOR:
        return TRACER_CLUSTERS[isinstance(server, Datadog)]
    return str(ClusterName(server.port, "", server.host))


def _zipkin(provider: Zipkin) -> ZipkinConfig:
    found = ZipkinConfig(
        collector_service=_over_http(provider),
        collector_endpoint_version=ZipkinConfig.CollectorEndpointVersion.HTTP_JSON,
        trace_id_128bit=provider.long_trace_ids,
    )
    found.shared_span_context.value = False
    if provider.w3c:
        found.trace_context_option = ZipkinConfig.TraceContextOption.USE_B3_WITH_W3C_PROPAGATION
    return found


def _skywalking(provider: SkyWalking) -> SkyWalkingConfig:
    found = SkyWalkingConfig()
    found.grpc_service.envoy_grpc.cluster_name = _cluster(provider)
    found.grpc_service.envoy_grpc.authority = provider.host
    if provider.token:
        found.client_config.backend_token = provider.token
    return found


def _open_telemetry(own: InboundScope, provider: OpenTelemetry) -> OpenTelemetryConfig:
    name = _semantic_name(own) if provider.semantic else _own_name(own)
    config = OpenTelemetryConfig(service_name=name)
    if provider.path:
        config.http_service.CopyFrom(_over_http(provider))
    else:
        service = config.grpc_service
        service.envoy_grpc.cluster_name = _cluster(provider)
        service.envoy_grpc.authority = provider.host
        service.timeout.CopyFrom(typed.milliseconds(provider.timeout))
        for key, value in provider.headers:
            service.initial_metadata.add(key=key, value=value)
    if provider.environment:
        config.resource_detectors.append(_ENVIRONMENT)
    if provider.dynatrace:
        config.resource_detectors.append(_DYNATRACE)
    if provider.sampler:
        config.sampler.CopyFrom(_sampler(provider.sampler))
    return config


def _semantic_name(own: InboundScope) -> str:
    """Return the name of a service as OpenTelemetry finds it for Kubernetes' workloads."""
    labels = ("app.kubernetes.io/instance", "app.kubernetes.io/name")
    known = (own.labels.get(label) for label in labels)
    return next(filter(None, known), own.workload_name) or "unknown_service"


def _sampler(sampler: Sampler) -> TypedExtensionConfig:
    config = DynatraceSamplerConfig(
        tenant=sampler.tenant,
        cluster_id=sampler.cluster_id,
        root_spans_per_minute=sampler.root_spans_per_minute,
        http_service=_over_http(sampler),
    )
    name = "envoy.tracers.opentelemetry.samplers.dynatrace"
    return TypedExtensionConfig(name=name, typed_config=typed.pack(config))


def _over_http(server: OpenTelemetry | Sampler | Zipkin) -> HttpService:
    """Return how a server is called over HTTP."""
    found = HttpService()
    host = f"[{server.host}]" if ":" in server.host else server.host
    uri = HttpUri(
        uri=f"http://{host}:{server.port}{server.path}",
        cluster=_cluster(server),
        timeout=typed.milliseconds(server.timeout),
    )
    found.http_uri.CopyFrom(uri)
    for name, value in server.headers:
        header = found.request_headers_to_add.add().header
        header.key, header.value = name, value
    return found
