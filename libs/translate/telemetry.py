"""Telemetry: one row for each resource; what they come to is decided in `libs.proxy`."""

from collections.abc import Iterator
from typing import cast, get_args

from libs.api import reasons
from libs.api.problem import Problem, Severity
from libs.api.telemetry import telemetry as api
from libs.api.validate.expressions import without_text, wrong_expression
from libs.model.mesh import Key, Table
from libs.model.providers import FileLog, Logger, Prometheus, Tracer
from libs.model.settings import MeshSettings
from libs.model.telemetry import LogRule, MetricsRule, TelemetryPolicy, TracingRule
from libs.translate.attachments import attached
from libs.translate.state import Derived
from libs.translate.view import View

_SIDES = {
    api.TrafficSide.CLIENT: "client",
    api.TrafficSide.SERVER: "server",
    api.TrafficSide.CLIENT_AND_SERVER: "",
}
_METRICS = {
    api.IstioMetric.ALL_METRICS: "",
    api.IstioMetric.REQUEST_COUNT: "requests_total",
    api.IstioMetric.REQUEST_DURATION: "request_duration_milliseconds",
    api.IstioMetric.REQUEST_SIZE: "request_bytes",
    api.IstioMetric.RESPONSE_SIZE: "response_bytes",
    api.IstioMetric.GRPC_REQUEST_MESSAGES: "request_messages_total",
    api.IstioMetric.GRPC_RESPONSE_MESSAGES: "response_messages_total",
    api.IstioMetric.TCP_OPENED_CONNECTIONS: "tcp_connections_opened_total",
    api.IstioMetric.TCP_CLOSED_CONNECTIONS: "tcp_connections_closed_total",
    api.IstioMetric.TCP_SENT_BYTES: "tcp_sent_bytes_total",
    api.IstioMetric.TCP_RECEIVED_BYTES: "tcp_received_bytes_total",
}
_BUILT_IN = {"prometheus": Prometheus, "envoy": FileLog}
_TRACERS, _LOGS = get_args(Tracer), get_args(Logger)
_ISTIO_ONLY = ("upstream_peer", "downstream_peer", "node.metadata", "filter_state")


def derive(view: View, resource: api.Telemetry) -> Derived:
    """Return the row of a Telemetry, and what of it has no effect."""
    metadata, spec = resource.metadata, resource.spec
    to = attached(resource.ref, spec.target_ref, spec.target_refs)
    if to.targets is None:
        return Derived(problems=to.problems)
    row = TelemetryPolicy(
        ref=resource.ref,
        namespace=metadata.namespace,
        name=metadata.name,
        created=metadata.creation_timestamp or 0,
        selector=spec.selector.match_labels if spec.selector else {},
        targets=to.targets,
        tracing=tuple(map(_tracing, spec.tracing)),
        metrics_providers=tuple(it.name for entry in spec.metrics for it in entry.providers),
        metrics_interval=_interval(spec),
        metrics=tuple(
            made for entry in spec.metrics for it in entry.overrides for made in _metrics(it)
        ),
        logs=tuple(map(_log, spec.access_logging)),
    )
    found = (
        Problem(resource.ref, path, reason, text, Severity.WARNING)
        for path, reason, text in (*_unknown(spec, view.settings), *_without_effect(spec))
    )
    return Derived(rows=((Key(Table.TELEMETRY, row.ref), row),), problems=(*to.problems, *found))


def _side(match: api.SideSelector | None) -> str:
    return _SIDES[match.mode] if match else ""


def _tracing(entry: api.Tracing) -> TracingRule:
    return TracingRule(
        side=_side(entry.match),
        providers=tuple(it.name for it in entry.providers),
        sampling=entry.random_sampling_percentage,
        disabled=entry.disable_span_reporting,
        tags=tuple(_tag(name, tag) for name, tag in sorted(entry.custom_tags.items())),
        mesh_tags=entry.enable_istio_tags,
        by_request_id=entry.use_request_id_for_trace_sampling,
        propagate=None
        if entry.disable_context_propagation is None
        else not entry.disable_context_propagation,
    )


def _tag(name: str, tag: api.CustomTag) -> tuple[str, str, str, str]:
    if tag.environment:
        return name, "environment", tag.environment.name, tag.environment.default_value
    if tag.header:
        return name, "header", tag.header.name, tag.header.default_value
    if tag.formatter:
        return name, "format", tag.formatter.value, ""
    return name, "literal", tag.literal.value if tag.literal else "", ""


def _interval(spec: api.TelemetrySpec) -> int:
    """Return the milliseconds between reports that the last entry asks for; 0: none does."""
    asked = [entry.reporting_interval for entry in spec.metrics if entry.reporting_interval]
    return int(asked[-1]) if asked else 0


def _metrics(override: api.MetricsOverride) -> Iterator[MetricsRule]:
    match = override.match or api.MetricSelector()
    metric = match.metric or api.IstioMetric.ALL_METRICS
    if match.custom_metric:
        return
    yield MetricsRule(
        side=_SIDES[match.mode],
        metric=_METRICS[metric],
        disabled=override.disabled,
        tags=tuple(_tags_of(override)),
    )


def _tags_of(override: api.MetricsOverride) -> Iterator[tuple[str, str | None]]:
    """Yield names and expressions, None for what is removed.

    An expression that Envoy cannot read is left out, which validation has said: it would make Envoy
    refuse every listener of the proxy.
    """
    for name, tag in sorted(override.tag_overrides.items()):
        expression = without_text(tag.value or "")
        if tag.operation is api.TagOperation.REMOVE:
            yield name, None
        elif not wrong_expression(expression):
            yield name, expression


def _log(entry: api.AccessLogging) -> LogRule:
    return LogRule(
        side=_side(entry.match),
        providers=tuple(it.name for it in entry.providers),
        disabled=entry.disabled,
        filter=entry.filter.expression if entry.filter else "",
    )


_Fault = tuple[str, str, str]
"""Path, reason and text."""


def _unknown(spec: api.TelemetrySpec, settings: MeshSettings) -> Iterator[_Fault]:
    lists: tuple[tuple[str, tuple[object, ...], tuple[type, ...]], ...] = (
        ("tracing", spec.tracing, _TRACERS),
        ("metrics", spec.metrics, (Prometheus,)),
        ("accessLogging", spec.access_logging, _LOGS),
    )
    known = {it.name: type(it) for it in settings.providers}
    for field, entries, kinds in lists:
        for index, entry in enumerate(entries):
            named = cast("tuple[api.ProviderRef, ...]", getattr(entry, "providers", ()))
            for number, it in enumerate(named):
                if known.get(it.name, _BUILT_IN.get(it.name)) not in kinds:
                    path = f"spec.{field}[{index}].providers[{number}].name"
                    text = f"MeshConfig has no provider {it.name[:100]!r} for this: it is left out"
                    yield path, reasons.UNKNOWN_PROVIDER, text


def _without_effect(spec: api.TelemetrySpec) -> Iterator[_Fault]:
    for index, entry in enumerate(spec.metrics):
        for number, override in enumerate(entry.overrides):
            yield from _of_override(override, f"metrics[{index}].overrides[{number}]")


def _of_override(override: api.MetricsOverride, place: str) -> Iterator[_Fault]:
    match = override.match or api.MetricSelector()
    if match.custom_metric:
        yield _unsupported(f"{place}.match.customMetric", "custom metrics do not exist")
    for name, tag in sorted(override.tag_overrides.items()):
        if any(word in (tag.value or "") for word in _ISTIO_ONLY):
            text = "the expression reads what only Istio's own filters know: its value is unknown"
            yield _unsupported(f"{place}.tagOverrides[{name}].value", text)


def _unsupported(path: str, text: str) -> _Fault:
    return f"spec.{path}", reasons.UNSUPPORTED_FIELD, text
