"""Telemetry: traces, metrics and access logs of workloads, and who gets them.

None marks the fields for which absence means something else than zero.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from libs.api.resource import IstioResource, Message
from libs.api.scalars import Duration
from libs.api.selector import TargetReference, WorkloadSelector

Text = Annotated[str, Meta(min_length=1)]


class TrafficSide(StrEnum):
    """Whether a workload calls (CLIENT) or is called (SERVER)."""

    CLIENT_AND_SERVER = "CLIENT_AND_SERVER"
    CLIENT = "CLIENT"
    SERVER = "SERVER"


class SideSelector(Message, frozen=True):
    """The traffic of one side."""

    mode: TrafficSide = TrafficSide.CLIENT_AND_SERVER


class ProviderRef(Message, frozen=True):
    """An extension provider of MeshConfig, by its name."""

    name: Text


class Literal(Message, frozen=True):
    """A fixed value."""

    value: Text


class Environment(Message, frozen=True):
    """The value of an environment variable of the proxy."""

    name: Text
    default_value: str = ""


class RequestHeader(Message, frozen=True):
    """The value of a header of the request."""

    name: Text
    default_value: str = ""


class Formatter(Message, frozen=True):
    """A value in the format of access logs."""

    value: Text


class CustomTag(Message, frozen=True):
    """Where the value of a tag comes from; at most one is set."""

    literal: Literal | None = None
    environment: Environment | None = None
    header: RequestHeader | None = None
    formatter: Formatter | None = None


class Tracing(Message, frozen=True):
    """How spans are made."""

    match: SideSelector | None = None
    providers: tuple[ProviderRef, ...] = ()
    random_sampling_percentage: Annotated[float, Meta(ge=0, le=100)] | None = None
    disable_span_reporting: bool | None = None
    custom_tags: dict[str, CustomTag] = {}
    use_request_id_for_trace_sampling: bool | None = None
    enable_istio_tags: bool | None = None
    disable_context_propagation: bool | None = None


class IstioMetric(StrEnum):
    """The standard metrics."""

    ALL_METRICS = "ALL_METRICS"
    REQUEST_COUNT = "REQUEST_COUNT"
    REQUEST_DURATION = "REQUEST_DURATION"
    REQUEST_SIZE = "REQUEST_SIZE"
    RESPONSE_SIZE = "RESPONSE_SIZE"
    TCP_OPENED_CONNECTIONS = "TCP_OPENED_CONNECTIONS"
    TCP_CLOSED_CONNECTIONS = "TCP_CLOSED_CONNECTIONS"
    TCP_SENT_BYTES = "TCP_SENT_BYTES"
    TCP_RECEIVED_BYTES = "TCP_RECEIVED_BYTES"
    GRPC_REQUEST_MESSAGES = "GRPC_REQUEST_MESSAGES"
    GRPC_RESPONSE_MESSAGES = "GRPC_RESPONSE_MESSAGES"


class MetricSelector(Message, frozen=True):
    """The metric that an override is of; at most one of the first two is set."""

    metric: IstioMetric | None = None
    custom_metric: Text | None = None
    mode: TrafficSide = TrafficSide.CLIENT_AND_SERVER


class TagOperation(StrEnum):
    """What becomes of a tag."""

    UPSERT = "UPSERT"
    REMOVE = "REMOVE"


class TagOverride(Message, frozen=True):
    """A tag whose value is an expression (CEL), or that is taken away."""

    operation: TagOperation | None = None
    value: str | None = None


class MetricsOverride(Message, frozen=True):
    """A change of some metrics."""

    match: MetricSelector | None = None
    disabled: bool | None = None
    tag_overrides: dict[str, TagOverride] = {}


class Metrics(Message, frozen=True):
    """How metrics are made."""

    providers: tuple[ProviderRef, ...] = ()
    overrides: tuple[MetricsOverride, ...] = ()
    reporting_interval: Duration | None = None


class LogFilter(Message, frozen=True):
    """The requests that are logged, as an expression (CEL)."""

    expression: str = ""


class AccessLogging(Message, frozen=True):
    """How access is logged."""

    match: SideSelector | None = None
    providers: tuple[ProviderRef, ...] = ()
    disabled: bool | None = None
    filter: LogFilter | None = None


class TelemetrySpec(Message, frozen=True):
    """Fields of the kind."""

    selector: WorkloadSelector | None = None
    target_ref: TargetReference | None = None
    target_refs: Annotated[tuple[TargetReference, ...], Meta(max_length=16)] = ()
    tracing: tuple[Tracing, ...] = ()
    metrics: tuple[Metrics, ...] = ()
    access_logging: tuple[AccessLogging, ...] = ()


class Telemetry(IstioResource, frozen=True):
    """The kind."""

    spec: TelemetrySpec = TelemetrySpec()
