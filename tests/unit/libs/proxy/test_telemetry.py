"""What the telemetry policies of mesh, namespace and workload come to."""

from msgspec import structs

from libs.model.providers import FileLog, OpenTelemetryLog, Prometheus, Zipkin
from libs.model.proxy_settings import Collector, ProxySettings, SpanDefaults
from libs.model.settings import MeshSettings
from libs.model.telemetry import (
    DefaultProviders,
    Log,
    LogRule,
    MetricsRule,
    SideTelemetry,
    Telemetry,
    TelemetryPolicy,
    Tracing,
    TracingRule,
)
from libs.proxy.telemetry import Place, effective, reachable
from tests.support import mesh as rows

ROOT = "istio-system"
WORKLOAD = rows.workload("pod", labels={"app": "web"})
SETTINGS = MeshSettings(
    providers=(
        Zipkin(name="zipkin", host="z", port=1),
        Zipkin(name="other", host="o", port=1),
        FileLog(name="file"),
        OpenTelemetryLog(name="otel", host="l", port=1),
        Prometheus(name="prom"),
    )
)


def told(*policies: TelemetryPolicy, settings: MeshSettings = SETTINGS) -> Telemetry:
    return effective(policies, WORKLOAD, settings)


def at(scope: str, **fields: object) -> TelemetryPolicy:
    if scope == "mesh":
        return rows.telemetry_policy("t", ROOT, **fields)
    if scope == "workload":
        return rows.telemetry_policy("w", selector={"app": "web"}, **fields)
    return rows.telemetry_policy("t", **fields)


def test_without_policies_there_are_metrics_and_the_file() -> None:
    assert told() == Telemetry()
    assert told().server == SideTelemetry(tracing=None, logs=(Log(),), metrics=True)


def test_a_nearer_scope_replaces_providers_and_keeps_what_it_leaves_open() -> None:
    mesh = at("mesh", tracing=(TracingRule(providers=("zipkin",), sampling=5.0),))
    namespace = at("namespace", tracing=(TracingRule(sampling=50.0),))
    workload = at("workload", tracing=(TracingRule(providers=("other",)),))
    assert told(mesh).server.tracing == Tracing(provider="zipkin", sampling=5.0)
    assert told(mesh, namespace).client.tracing == Tracing(provider="zipkin", sampling=50.0)
    assert told(workload, mesh, namespace).server.tracing == Tracing(
        provider="other", sampling=50.0
    )


def test_only_policies_for_the_workload_count() -> None:
    rule = (TracingRule(providers=("zipkin",)),)
    for policy in (
        rows.telemetry_policy("t", "bank", tracing=rule),
        rows.telemetry_policy("t", selector={"app": "other"}, tracing=rule),
        rows.telemetry_policy("t", targets=("Gateway/g",), tracing=rule),
    ):
        assert told(policy) == Telemetry()


def test_of_two_in_a_scope_the_oldest_counts() -> None:
    old = rows.telemetry_policy("b", created=1, tracing=(TracingRule(providers=("zipkin",)),))
    new = rows.telemetry_policy("a", created=2, tracing=(TracingRule(providers=("other",)),))
    found = told(new, old)
    assert found.server.tracing == Tracing(provider="zipkin")
    assert found.refs == (old.ref,)


def test_logs() -> None:
    both = at("mesh", logs=(LogRule(providers=("file", "otel")),))
    assert told(both).server.logs == (Log("file"), Log("otel"))
    filtered = at("namespace", logs=(LogRule(filter="f"),))
    assert told(both, filtered).server.logs == (Log("file", "f"), Log("otel", "f"))
    off = at("namespace", logs=(LogRule(disabled=True, side="client"),))
    assert told(both, off).client.logs == ()
    assert told(both, off).server.logs == (Log("file"), Log("otel"))
    one = at("workload", logs=(LogRule(providers=("otel",)),))
    assert told(both, filtered, one).server.logs == (Log("otel", "f"),)
    assert told(at("mesh", logs=(LogRule(providers=("nobody",)),))).server.logs == ()
    assert told(at("mesh", logs=(LogRule(providers=("envoy",)),))).server.logs == (Log("envoy"),)


# proves: MeshConfig extensionProviders[].prometheus
def test_metrics() -> None:
    wide = MetricsRule(disabled=True)
    near = MetricsRule(metric="requests_total", disabled=False, side="server")
    found = told(at("workload", metrics=(near,)), at("mesh", metrics=(wide,)))
    assert found.client.overrides == (wide,)
    assert found.server.overrides == (wide, near)
    assert not told(at("mesh", metrics_providers=("file",))).server.metrics
    assert told(at("mesh", metrics_providers=("prometheus",))).server.metrics
    assert told(at("mesh", metrics_providers=("file", "prom"))).server.metrics


def test_default_providers() -> None:
    defaults = DefaultProviders(tracing=("zipkin",), logs=("otel",), metrics=("file",))
    settings = MeshSettings(providers=SETTINGS.providers, default_providers=defaults)
    found = told(settings=settings).server
    assert found == SideTelemetry(
        tracing=Tracing(provider="zipkin"), logs=(Log("otel"),), metrics=False
    )


def test_what_a_proxy_does_not_see_is_left_out() -> None:
    rule = (TracingRule(providers=("zipkin",)),)
    found = told(at("mesh", tracing=rule, logs=(LogRule(providers=("file", "otel")),)))
    assert reachable(found, SETTINGS, frozenset({("z", 1), ("o", 1), ("l", 1)})) == found
    for seen in (frozenset[Place](), frozenset({("z", 2), ("o", 1), ("l", 2)})):
        cut = reachable(found, SETTINGS, seen)
        assert cut.server.tracing is None
        assert cut.server.logs == (Log("file"),)


def test_without_a_provider_spans_go_where_the_proxys_own_settings_say() -> None:
    spans = SpanDefaults(collector=Collector(host="zipkin", port=9411), sampling=7.0)
    own = structs.replace(SETTINGS, proxy=ProxySettings(spans=spans))
    assert told(settings=own).client.tracing == Tracing(provider="", sampling=7.0)
    assert told(settings=structs.replace(own, tracing=False)).client.tracing is None
    named = at("mesh", tracing=(TracingRule(providers=("zipkin",)),))
    assert told(named, settings=own).client.tracing == Tracing(provider="zipkin", sampling=7.0)
    unknown = at("mesh", tracing=(TracingRule(providers=("nobody",)),))
    assert told(unknown, settings=own).client.tracing is None


def test_how_often_connections_are_reported() -> None:
    mesh = at("mesh", metrics_interval=10_000)
    nearer = at("namespace", metrics_interval=30_000)
    quick = at("workload", metrics_interval=1)
    for policies, expected in (
        ((), 5_000),
        ((mesh,), 10_000),
        ((mesh, nearer), 30_000),
        ((mesh, nearer, quick), 1_000),
    ):
        found = effective(policies, WORKLOAD, SETTINGS, lasting=True)
        assert found.client.interval == found.server.interval == expected
        assert told(*policies).client.interval == 0, "its agent does not count"
