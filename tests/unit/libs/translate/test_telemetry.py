"""Telemetries as rows, and what of them has no effect."""

from libs.model.telemetry import LogRule, MetricsRule, TracingRule
from tests.support.resources import mesh_of, translated

MESH = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - {name: zipkin, zipkin: {service: z.example, port: 9411}}
    - {name: otel, envoyOtelAls: {service: l.example, port: 4317}}
    defaultProviders: {tracing: [zipkin], accessLogging: [envoy]}
---
"""
HEAD = """
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: t, namespace: shop}
spec:
"""


# proves: Telemetry spec.selector.matchLabels, spec.tracing[].disableSpanReporting
# proves: Telemetry spec.tracing[].customTags[].environment.name
# proves: Telemetry spec.tracing[].customTags[].environment.defaultValue
# proves: Telemetry spec.metrics[].providers[].name
def test_every_field() -> None:
    (row,) = mesh_of(
        MESH
        + HEAD
        + """
  selector: {matchLabels: {app: web}}
  tracing:
  - match: {mode: CLIENT}
    providers: [{name: zipkin}]
    randomSamplingPercentage: 10
    disableSpanReporting: true
    customTags:
      a: {literal: {value: x}}
      b: {environment: {name: E, defaultValue: d}}
      c: {header: {name: h}}
  metrics:
  - providers: [{name: prometheus}]
    overrides:
    - match: {metric: REQUEST_COUNT, mode: SERVER}
      disabled: true
      tagOverrides: {t: {value: request.host}, u: {operation: REMOVE}}
    - disabled: false
  accessLogging:
  - providers: [{name: otel}]
    filter: {expression: "response.code >= 400"}
"""
    ).telemetry.values()
    tags = (("a", "literal", "x", ""), ("b", "environment", "E", "d"), ("c", "header", "h", ""))
    assert row.tracing == (
        TracingRule(side="client", providers=("zipkin",), sampling=10.0, disabled=True, tags=tags),
    )
    assert row.metrics_providers == ("prometheus",)
    assert row.metrics == (
        MetricsRule(
            side="server",
            metric="requests_total",
            disabled=True,
            tags=(("t", "request.host"), ("u", None)),
        ),
        MetricsRule(disabled=False),
    )
    assert row.logs == (LogRule(providers=("otel",), filter="response.code >= 400"),)
    assert row.selector == {"app": "web"}


def test_the_settings_have_providers() -> None:
    settings = mesh_of(MESH).settings
    assert [it.name for it in settings.providers] == ["zipkin", "otel"]
    assert settings.default_providers.tracing == ("zipkin",)
    assert settings.default_providers.logs == ("envoy",)


def test_what_has_no_effect_is_said() -> None:
    found = translated(
        MESH
        + HEAD
        + """
  tracing: [{providers: [{name: otel}]}]
  metrics:
  - overrides:
    - match: {customMetric: mine}
    - tagOverrides: {a: {value: "upstream_peer.labels['app'].value"}}
  accessLogging: [{providers: [{name: nobody}, {name: envoy}]}]
"""
    ).problems
    assert sorted((it.path, it.reason) for it in found) == [
        ("spec.accessLogging[0].providers[0].name", "UnknownProvider"),
        ("spec.metrics[0].overrides[0].match.customMetric", "UnsupportedField"),
        ("spec.metrics[0].overrides[1].tagOverrides[a].value", "UnsupportedField"),
        ("spec.tracing[0].providers[0].name", "UnknownProvider"),
    ]


def test_the_last_entry_that_says_how_often_counts() -> None:
    metrics = "  metrics: [{reportingInterval: 10s}, {reportingInterval: 1m30s}, {}]\n"
    mesh = mesh_of(MESH + HEAD + metrics)
    assert [row.metrics_interval for row in mesh.telemetry.values()] == [90_000]
