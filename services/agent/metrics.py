"""Metrics of the agent, under Istio's names. They have a registry of their own.

The status port merges them with Envoy's and the application's, which may be Python too: the default
registry's series about process and interpreter would collide. Ours carry the prefix `istio_agent_`.
"""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    exposition,
)

from libs.runtime import build
from libs.runtime.metrics import Total

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()
ProcessCollector(namespace="istio_agent", registry=REGISTRY)


def _counter(name: str, text: str) -> Counter:
    return Counter(f"istio_agent_{name}", text, registry=REGISTRY)


def _gauge(name: str, text: str) -> Gauge:
    return Gauge(f"istio_agent_{name}", text, registry=REGISTRY)


def _total(name: str, text: str, label: str) -> Total:
    """Return a counter whose name has no suffix, as Istio's has none."""
    return Total(f"istio_agent_{name}", text, [label], registry=REGISTRY)


BUILD = Gauge(
    "istio_build",
    "1 for the version that a component is of.",
    ["component", "tag"],
    registry=REGISTRY,
)
BUILD.labels(component="proxy", tag=build.version()).set(1)
CERT_EXPIRY = Gauge(
    "istio_agent_cert_expiry_seconds",
    "Seconds until the certificate expires; negative once it has.",
    ["resource_name"],
    registry=REGISTRY,
)
CERT_LIFE_LEFT = _gauge(
    "certificate_life_left",
    "Share of its life that the certificate has left; it is renewed at a half.",
)
CA_REQUESTS = _counter("num_outgoing_requests", "Requests for a certificate.")
CA_RETRIES = _counter("num_outgoing_retries", "Requests for a certificate that were repeated.")
CA_FAILURES = _counter("num_failed_outgoing_requests", "Requests for a certificate that failed.")
FILE_FAILURES = _counter("num_file_secret_failures", "Files of a secret that could not be read.")
SECRET_REJECTS = _counter("secret_rejects", "Secrets that Envoy refused.")
XDS_REQUESTS = _counter("xds_proxy_requests", "Messages from Envoy to the control plane.")
XDS_RESPONSES = _counter("xds_proxy_responses", "Messages from the control plane to Envoy.")
XDS_FAILURES = _counter("istiod_connection_failures", "Streams that ended with an error.")
XDS_TERMINATIONS = _counter("istiod_connection_terminations", "Streams that ended in order.")
ENVOY_TERMINATIONS = _counter("envoy_connection_terminations", "Streams that Envoy ended.")
ENVOY_STARTS = _counter("envoy_starts", "Times Envoy was started.")
MODULES_FETCHED = _counter("modules_fetched", "Modules of WebAssembly that Envoy was given.")
MODULES_FAILED = _counter("modules_failed", "Modules of WebAssembly that could not be had.")
EXTENSIONS_TRIED = Counter(
    "istio_agent_extensions_tried",
    "Extensions that an Envoy of their own was asked about: accepted, refused or undecided.",
    ["verdict"],
    registry=REGISTRY,
)
WASM_ENTRIES = _gauge("wasm_cache_entries", "Modules of WebAssembly that are kept as files.")
WASM_LOOKUPS = _total("wasm_cache_lookup_count", "Modules looked for among those kept.", "hit")
WASM_FETCHES = _total("wasm_remote_fetch_count", "Attempts to fetch a module.", "result")
WASM_CONVERSIONS = _total(
    "wasm_config_conversion_count", "Extensions of Envoy's whose module was looked at.", "result"
)
WASM_MILLISECONDS = Histogram(
    "istio_agent_wasm_config_conversion_duration",
    "Milliseconds until a module's file was put into an extension's configuration.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384),
    registry=REGISTRY,
)
SCRAPES = _counter("scrapes", "Scrapes of the merged metrics.")
SCRAPE_FAILURES = Counter(
    "istio_agent_scrape_failures",
    "Parts of a scrape that could not be had.",
    ["type"],
    registry=REGISTRY,
)
DNS_REQUESTS = _counter("dns_requests", "DNS queries of the application.")
DNS_UPSTREAM_REQUESTS = _counter("dns_upstream_requests", "DNS queries that were passed on.")
DNS_UPSTREAM_FAILURES = _counter("dns_upstream_failures", "DNS queries that no server answered.")
DNS_UPSTREAM_SECONDS = Histogram(
    "istio_agent_dns_upstream_request_duration_seconds",
    "Seconds until a DNS query that was passed on was answered.",
    buckets=(0.001, 0.005, 0.01, 0.1, 1, 5),
    registry=REGISTRY,
)
TCP_SERIES_FORGOTTEN = _counter(
    "tcp_series_forgotten", "Series of bytes of TCP that gave way to others."
)
TCP_CONNECTIONS_WAITING = _counter(
    "tcp_connections_waiting", "Reports of connections that are counted when they end: no room."
)
TCP_MESSAGES_REFUSED = _counter(
    "tcp_messages_refused", "Messages of Envoy about TCP connections that could not be read."
)
STARTUP = _gauge("startup_duration_seconds", "Seconds from start until the proxy was ready.")


def render() -> bytes:
    """Return the agent's own metrics in Prometheus' text format."""
    return exposition.generate_latest(REGISTRY)
