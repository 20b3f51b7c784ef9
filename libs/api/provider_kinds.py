"""Kinds of extension providers: what collectors of spans and of access logs are told by.

Authorizers and the rules about all of them stand in `libs.api.extension_providers`.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from libs.api.resource import Message
from libs.api.scalars import Duration, Int32, JsonObject, UInt32

Text = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=1, le=65535)]


class TracingHeader(Message, frozen=True):
    """A header of the collector's requests; at most one of the last two is set."""

    name: Text
    value: str = ""
    env_name: str = ""


class TraceContext(StrEnum):
    """The headers in which the context of a trace is handed on."""

    USE_B3 = "USE_B3"
    USE_B3_WITH_W3C_PROPAGATION = "USE_B3_WITH_W3C_PROPAGATION"


class Zipkin(Message, frozen=True):
    """A collector of spans."""

    service: Text
    port: Port
    max_tag_length: UInt32 = 0
    enable64bit_trace_id: bool = False
    path: str = ""
    trace_context_option: TraceContext = TraceContext.USE_B3
    timeout: Duration | None = None
    headers: tuple[TracingHeader, ...] = ()


class Datadog(Message, frozen=True):
    """A collector of spans."""

    service: Text
    port: Port
    max_tag_length: UInt32 = 0


class SkyWalking(Message, frozen=True):
    """A collector of spans."""

    service: Text
    port: Port
    access_token: str = ""


class TracingHttp(Message, frozen=True):
    """How spans are sent over HTTP."""

    path: str = ""
    timeout: Duration | None = None
    headers: tuple[TracingHeader, ...] = ()


class TracingGrpc(Message, frozen=True):
    """How spans are sent over gRPC."""

    timeout: Duration | None = None
    initial_metadata: tuple[TracingHeader, ...] = ()


class ResourceDetectors(Message, frozen=True):
    """What else spans say of where they come from; each detector is on if it is there."""

    environment: JsonObject | None = None
    dynatrace: JsonObject | None = None


class DynatraceApi(Message, frozen=True):
    """Who tells the sampler what to trace."""

    service: Text
    port: Port
    http: TracingHttp | None = None


class DynatraceSampler(Message, frozen=True):
    """A sampler that is told what to trace, by the collector itself unless another is named."""

    tenant: Text
    cluster_id: Int32 = 0
    root_spans_per_minute: UInt32 = 0
    http_service: DynatraceApi | None = None


class Enrichment(StrEnum):
    """Whose names services have in spans."""

    ISTIO_CANONICAL = "ISTIO_CANONICAL"
    OTEL_SEMANTIC_CONVENTIONS = "OTEL_SEMANTIC_CONVENTIONS"


class OpenTelemetryTracing(Message, frozen=True):
    """A collector of spans; over gRPC unless `http` is set."""

    service: Text
    port: Port
    max_tag_length: UInt32 = 0
    http: TracingHttp | None = None
    grpc: TracingGrpc | None = None
    resource_detectors: ResourceDetectors | None = None
    service_attribute_enrichment: Enrichment = Enrichment.ISTIO_CANONICAL
    dynatrace_sampler: DynatraceSampler | None = None


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


class TcpGrpcLog(Message, frozen=True):
    """A collector of access logs that speaks Envoy's own service: entries of connections."""

    service: Text
    port: Port
    log_name: str = ""
    filter_state_objects_to_log: tuple[str, ...] = ()


class HttpGrpcLog(Message, frozen=True):
    """A collector of access logs that speaks Envoy's own service: entries of requests."""

    service: Text
    port: Port
    log_name: str = ""
    filter_state_objects_to_log: tuple[str, ...] = ()
    additional_request_headers_to_log: tuple[str, ...] = ()
    additional_response_headers_to_log: tuple[str, ...] = ()
    additional_response_trailers_to_log: tuple[str, ...] = ()
