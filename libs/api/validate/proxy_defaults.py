"""Rules about the defaults of proxies, of the mesh and in the annotation of a pod."""

from collections.abc import Mapping

from msgspec import Struct

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
    RemoteService,
    TracingTag,
)
from libs.api.readers import reader_of
from libs.api.report import Report
from libs.api.validate.client_tls import check_client_tls
from libs.api.validate.durations import check_duration, check_idle_timeout
from libs.api.validate.hosts import is_address, wrong_name
from libs.api.validate.keepalives import check_keepalive
from libs.api.validate.ports import MAX_PORT, check_port
from libs.api.validate.single_line import check_line
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


_OLD = "Istio itself does not read it any more"
_MACHINES = "only an agent on a machine probes; pods have a kubelet for that"
_PROVIDERS = "Envoy has no such tracer any more: name a provider of MeshConfig in a Telemetry"
_CONTRIB = "needs hardware and extensions that Envoy as it is released does not have"
UNREAD: Mapping[str, str] = {
    "binary_path": "the agent runs the Envoy that it comes with",
    "discovery_refresh_delay": _OLD,
    "zipkin_address": "deprecated: write tracing: {zipkin: {address: …}}",
    "envoy_metrics_service_address": _OLD,
    "availability_zone": _OLD,
    "control_plane_auth_policy": "agents speak mutual TLS to the control plane, always",
    "proxy_bootstrap_template_path": "the agent's bootstrap is no template",
    "readiness_probe": _MACHINES,
    "sds": _OLD,
    "stat_name_length": "names of statistics have no limit",
    "private_key_provider": _CONTRIB,
}
"""Fields of which nothing comes, and why."""

_TRACING = {
    "lightstep": _PROVIDERS,
    "stackdriver": _PROVIDERS,
    "open_census_agent": _PROVIDERS,
}
_LIMITS = {
    "listener_connection_limit": "Istio has this field, but never does anything with it",
}
_TRACER_TLS = {
    "credential_name": "what a proxy says of itself gives it no credential, so there are no spans:"
    " name files",
}
_REMOTE_TLS = {
    "credential_name": "what a proxy calls from its start on has no credentials: name files",
}
_HEADERS = {
    "metadata_exchange_headers": "has no effect: services outside of the mesh are never told",
}


def _check_unread(
    part: Struct | None, unread: Mapping[str, str], path: Path, *, report: Report
) -> None:
    """Warn of each field that is written and read by nobody."""
    if part is None:
        return
    written = dict(zip(part.__struct_fields__, part.__struct_encode_fields__, strict=True))
    for name, text in unread.items():
        value = getattr(part, name)
        if value is not None and value not in ((), {}, ""):
            report.warning((path, written[name]), reasons.UNSUPPORTED_FIELD, text)


def check_proxy_defaults(config: ProxyDefaults, path: Path, report: Report) -> None:
    """Report addresses, ports and durations that cannot be, and what nothing comes of."""
    _check_unread(config, UNREAD, path, report=report)
    _check_unread(config.tracing, _TRACING, (path, "tracing"), report=report)
    if config.tracing and config.tracing.tls_settings:
        place = ((path, "tracing"), "tlsSettings")
        _check_unread(config.tracing.tls_settings, _TRACER_TLS, place, report=report)
    limits = (path, "connectionSettings")
    _check_unread(config.connection_settings, _LIMITS, limits, report=report)
    _check_unread(config.proxy_headers, _HEADERS, (path, "proxyHeaders"), report=report)
    if config.proxy_headers and config.proxy_headers.server:
        place = (((path, "proxyHeaders"), "server"), "value")
        check_line(config.proxy_headers.server.value, place, report)
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
        if service:
            _check_remote(service, (path, field), report)
    ports = {"proxyAdminPort": config.proxy_admin_port, "statusPort": config.status_port}
    for field, port in ports.items():
        if port is not None:
            check_port(port, (path, field), report)


def _check_remote(service: RemoteService, path: Path, report: Report) -> None:
    if service.address:
        _check_place(service.address, (path, "address"), report)
    check_keepalive(service.tcp_keepalive, (path, "tcpKeepalive"), report)
    if not service.address and (service.tls_settings or service.tcp_keepalive):
        report.warning(path, reasons.NO_EFFECT, "without an address there is no such service")
    if service.tls_settings:
        tls = (path, "tlsSettings")
        check_client_tls(service.tls_settings, tls, report, namespace="")
        _check_unread(service.tls_settings, _REMOTE_TLS, tls, report=report)


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
    for tag, source in tracing.custom_tags.items():
        _check_tag(source, ((path, "customTags"), tag), report)
    if tracing.sampling is not None and not 0 <= tracing.sampling <= 100:
        text = f"{tracing.sampling} is not a percentage: 0 to 100"
        report.error((path, "sampling"), reasons.OUT_OF_RANGE, text)
    if tracing.tls_settings:
        check_client_tls(tracing.tls_settings, (path, "tlsSettings"), report, namespace="")


def _check_tag(source: TracingTag, path: Path, report: Report) -> None:
    """Report a tag whose value or source is empty, for which Envoy refuses whole listeners."""
    if source.literal:
        _check_filled(source.literal.value, ((path, "literal"), "value"), report)
    for kind, named in (("environment", source.environment), ("header", source.header)):
        if named:
            _check_filled(named.name, ((path, kind), "name"), report)


def _check_filled(text: str, path: Path, report: Report) -> None:
    if not text:
        report.error(path, reasons.EMPTY_VALUE, "must not be empty")
    check_line(text, path, report)


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
