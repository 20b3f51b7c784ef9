"""Rules about the defaults of proxies, of the mesh and in the annotation of a pod."""

from collections.abc import Mapping

from libs.api import documents, reasons
from libs.api.documents import Document
from libs.api.path import Path
from libs.api.problem import Severity
from libs.api.proxy_defaults import (
    ANNOTATION,
    Accelerator,
    ConnectionSettings,
    PrivateKeyProvider,
    ProxyDefaults,
    ProxyTracing,
)
from libs.api.readers import reader_of
from libs.api.report import Report
from libs.api.validate.client_tls import check_client_tls
from libs.api.validate.durations import check_duration, check_idle_timeout
from libs.api.validate.hosts import is_address, wrong_name
from libs.api.validate.ports import MAX_PORT, check_port
from libs.api.validate.workload_group import check_probe

MAX_TEXT = 16 * 1024
"""Of the annotation: whoever may create a pod writes it."""

_PLACE: Path = (((None, "metadata"), "annotations"), ANNOTATION)


def check_annotation(annotations: Mapping[str, str], report: Report) -> None:
    """Warn of an annotation that cannot be read: the pod is part of the mesh all the same."""
    found = Report(report.ref)
    read_annotation(annotations, found)
    for problem in found.problems:
        report.warning(problem.path, problem.reason, problem.text)


def read_annotation(annotations: Mapping[str, str], report: Report) -> ProxyDefaults | None:
    """Return what the annotation says; None if it is not there, or wrong, which is reported."""
    text = annotations.get(ANNOTATION)
    if text is None:
        return None
    if len(text) > MAX_TEXT:
        report.error(_PLACE, reasons.TOO_LARGE, f"must not be longer than {MAX_TEXT} characters")
        return None
    for document in documents.read(text, "")[:1]:
        return _read(document, report)
    return None


def _read(document: Document, report: Report) -> ProxyDefaults | None:
    for problem in document.problems:
        report.error(_PLACE, problem.reason, f"line {problem.line} of it: {problem.text}")
    if document.raw is None:
        return None
    config = reader_of(ProxyDefaults)(document.raw, _PLACE, report)
    if not isinstance(config, ProxyDefaults):
        return None
    check_proxy_defaults(config, _PLACE, report)
    failed = any(problem.severity is Severity.ERROR for problem in report.problems)
    return None if failed else config


def check_proxy_defaults(config: ProxyDefaults, path: Path, report: Report) -> None:
    """Report addresses, ports and durations that cannot be."""
    _check_name(config, path, report)
    _check_addresses(config, path, report)
    _check_durations(config, path, report)
    if config.tracing:
        _check_tracing(config.tracing, (path, "tracing"), report)
    if config.readiness_probe:
        check_probe(config.readiness_probe, (path, "readinessProbe"), report)
    if config.private_key_provider:
        _check_signer(config.private_key_provider, (path, "privateKeyProvider"), report)
    if config.connection_settings:
        _check_connections(config.connection_settings, (path, "connectionSettings"), report)


def wrong_place(place: str) -> str:
    """Return what is wrong with `host:port`, or an empty text."""
    host, colon, port = place.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or (":" in bare) != (bare != host):
        return f"{place[:100]!r} is not of the form host:port"
    if not port.isascii() or not port.isdigit() or not 1 <= int(port[:10]) <= MAX_PORT:
        return f"{port[:100]!r} is not a port: 1 to {MAX_PORT}"
    return "" if is_address(bare) else wrong_name(bare)


def _check_place(place: str, path: Path, report: Report) -> None:
    if wrong := wrong_place(place):
        report.error(path, reasons.INVALID_ADDRESS, wrong)


def _check_name(config: ProxyDefaults, path: Path, report: Report) -> None:
    if config.service_cluster is not None and config.tracing_service_name is not None:
        text = "only one of serviceCluster and tracingServiceName may be set"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    texts = {
        "configPath": config.config_path,
        "binaryPath": config.binary_path,
        "serviceCluster": config.service_cluster,
    }
    for field, given in texts.items():
        if given == "":
            report.error((path, field), reasons.EMPTY_VALUE, "must not be empty")


def _check_addresses(config: ProxyDefaults, path: Path, report: Report) -> None:
    if config.discovery_address is not None:
        _check_place(config.discovery_address, (path, "discoveryAddress"), report)
    for field, address in (
        ("statsdUdpAddress", config.statsd_udp_address),
        ("envoyMetricsServiceAddress", config.envoy_metrics_service_address),
    ):
        if address:
            _check_place(address, (path, field), report)
    for field, service in (
        ("envoyMetricsService", config.envoy_metrics_service),
        ("envoyAccessLogService", config.envoy_access_log_service),
    ):
        if service and service.address:
            _check_place(service.address, ((path, field), "address"), report)
    ports = {"proxyAdminPort": config.proxy_admin_port, "statusPort": config.status_port}
    for field, port in ports.items():
        if port is not None:
            check_port(port, (path, field), report)


def _check_durations(config: ProxyDefaults, path: Path, report: Report) -> None:
    check_duration(config.drain_duration, (path, "drainDuration"), report)
    if config.drain_duration is not None and config.drain_duration % 1000:
        report.error((path, "drainDuration"), reasons.INVALID_DURATION, "must be whole seconds")
    termination = (path, "terminationDrainDuration")
    check_idle_timeout(config.termination_drain_duration, termination, report)
    check_idle_timeout(config.file_flush_interval, (path, "fileFlushInterval"), report)


def _check_tracing(tracing: ProxyTracing, path: Path, report: Report) -> None:
    collectors = {
        "zipkin": tracing.zipkin,
        "lightstep": tracing.lightstep,
        "datadog": tracing.datadog,
        "stackdriver": tracing.stackdriver,
        "openCensusAgent": tracing.open_census_agent,
    }
    given = [name for name, collector in collectors.items() if collector is not None]
    if len(given) > 1:
        text = f"only one of {' and '.join(given)} may be set"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    for name in ("zipkin", "lightstep", "datadog"):
        collector = collectors[name]
        address = getattr(collector, "address", "")
        if collector is not None and not address.startswith("$("):  # an address may be a variable
            _check_place(address, ((path, name), "address"), report)
    if tracing.lightstep and not tracing.lightstep.access_token:
        place = ((path, "lightstep"), "accessToken")
        report.error(place, reasons.MISSING_FIELD, "accessToken is required")
    if tracing.sampling is not None and not 0 <= tracing.sampling <= 100:
        text = f"{tracing.sampling} is not a percentage: 0 to 100"
        report.error((path, "sampling"), reasons.OUT_OF_RANGE, text)
    if tracing.tls_settings:
        check_client_tls(tracing.tls_settings, (path, "tlsSettings"), report, namespace="")


def _check_signer(provider: PrivateKeyProvider, path: Path, report: Report) -> None:
    if (provider.cryptomb is None) == (provider.qat is None):
        text = "needs exactly one of cryptomb and qat"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    hardware: tuple[tuple[str, Accelerator | None], ...] = (
        ("cryptomb", provider.cryptomb),
        ("qat", provider.qat),
    )
    for field, accelerator in hardware:
        if accelerator is not None and not accelerator.poll_delay:
            place = ((path, field), "pollDelay")
            report.error(place, reasons.MISSING_FIELD, "must be set, and not 0s")


def _check_connections(settings: ConnectionSettings, path: Path, report: Report) -> None:
    timeouts = (
        ("httpIdleTimeout", settings.http_idle_timeout),
        ("httpMaxConnectionDuration", settings.http_max_connection_duration),
        ("httpDrainTimeout", settings.http_drain_timeout),
        ("httpRequestTimeout", settings.http_request_timeout),
        ("httpRequestHeadersTimeout", settings.http_request_headers_timeout),
        ("httpStreamIdleTimeout", settings.http_stream_idle_timeout),
        ("httpMaxStreamDuration", settings.http_max_stream_duration),
    )
    for field, timeout in timeouts:
        check_idle_timeout(timeout, (path, field), report)
