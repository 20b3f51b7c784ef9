"""MeshConfig: the settings of the whole mesh, a YAML text in the ConfigMap `istio`, key `mesh`.

All of Istio's fields are read and judged; of those that nothing comes of yet, each that is written
is warned of. Defaults of absent fields are not decided here: None is absent.
"""

import json
from enum import StrEnum

from msgspec import field
from msgspec.structs import replace

from libs.api import documents, mesh_networks, reasons
from libs.api.documents import Raw
from libs.api.extension_providers import ExtensionProvider, check_providers
from libs.api.kubernetes import ConfigMap
from libs.api.mesh_parts import (
    Authority,
    Certificate,
    CertificateData,
    ConfigSource,
    DefaultProviders,
    DefaultTrafficPolicy,
    IngressMode,
    LabelSelector,
    MeshTls,
    ServiceEntryVisibility,
    ServiceScopeConfig,
    ServiceSettings,
)
from libs.api.networking.destination_rule import (
    ClientTls,
    H2UpgradePolicy,
    LocalityBalancing,
    TcpKeepalive,
    ZoneAwareBalancing,
)
from libs.api.networking.virtual_service import Retry
from libs.api.path import Path
from libs.api.problem import Problem, Severity
from libs.api.proxy_defaults import ProxyDefaults
from libs.api.readers import reader_of
from libs.api.report import Report
from libs.api.resource import Message
from libs.api.scalars import Duration, Int32
from libs.api.validate.access_log import check_fields, check_file, check_text
from libs.api.validate.client_tls import check_client_tls
from libs.api.validate.durations import check_duration, check_idle_timeout
from libs.api.validate.hosts import is_label
from libs.api.validate.keepalives import check_keepalive
from libs.api.validate.localities import check_localities, check_zones
from libs.api.validate.mesh_parts import (
    check_default_policy,
    check_entry_visibility,
    check_inbound_retries,
    check_label_selectors,
    check_mesh_tls,
    check_roots,
    check_service_settings,
    check_tls_defaults,
)
from libs.api.validate.ports import check_port
from libs.api.validate.proxy_defaults import check_proxy_defaults
from libs.api.validate.retries import check_retries

NAME = "istio"
"""The name of the ConfigMap in the root namespace."""

KEY = "mesh"
"""The key of its data that holds the text."""

NETWORKS_KEY = mesh_networks.KEY
"""The key of its data that says how networks reach each other."""


class OutboundMode(StrEnum):
    """What becomes of traffic to hosts that nobody declared."""

    REGISTRY_ONLY = "REGISTRY_ONLY"
    ALLOW_ANY = "ALLOW_ANY"
    ALLOW_ANY_DYNAMIC_DNS = "ALLOW_ANY_DYNAMIC_DNS"


class OutboundTrafficPolicy(Message, frozen=True):
    """Traffic to hosts that nobody declared."""

    mode: OutboundMode = OutboundMode.ALLOW_ANY
    tls: ClientTls | None = None


class InboundMode(StrEnum):
    """Where a sidecar sends what it lets in: to the pod's address, or to localhost."""

    PASSTHROUGH = "PASSTHROUGH"
    LOCALHOST = "LOCALHOST"


class InboundTrafficPolicy(Message, frozen=True):
    """Traffic that a sidecar lets in."""

    mode: InboundMode = InboundMode.PASSTHROUGH


class LogEncoding(StrEnum):
    """How access logs are written."""

    TEXT = "TEXT"
    JSON = "JSON"


class Normalization(StrEnum):
    """What becomes of a path before authorization and routing read it."""

    DEFAULT = "DEFAULT"
    NONE = "NONE"
    BASE = "BASE"
    MERGE_SLASHES = "MERGE_SLASHES"
    DECODE_AND_MERGE_SLASHES = "DECODE_AND_MERGE_SLASHES"


class PathNormalization(Message, frozen=True):
    """Normalisation of paths."""

    normalization: Normalization = Normalization.DEFAULT


class MeshConfig(Message, frozen=True):
    """What the mesh reads."""

    trust_domain: str | None = None
    trust_domain_aliases: tuple[str, ...] | None = None
    root_namespace: str | None = None
    outbound_traffic_policy: OutboundTrafficPolicy | None = None
    inbound_traffic_policy: InboundTrafficPolicy | None = None
    enable_auto_mtls: bool | None = None
    connect_timeout: Duration | None = None
    tcp_keepalive: TcpKeepalive | None = None
    protocol_detection_timeout: Duration | None = None
    dns_refresh_rate: Duration | None = None
    locality_lb_setting: LocalityBalancing | None = None
    default_http_retry_policy: Retry | None = None
    default_service_export_to: tuple[str, ...] | None = None
    default_virtual_service_export_to: tuple[str, ...] | None = None
    default_destination_rule_export_to: tuple[str, ...] | None = None
    access_log_file: str | None = None
    access_log_format: str | None = None
    access_log_encoding: LogEncoding | None = None
    enable_prometheus_merge: bool | None = None
    path_normalization: PathNormalization | None = None
    h2_upgrade_policy: H2UpgradePolicy | None = None
    default_config: ProxyDefaults | None = None
    proxy_listen_port: Int32 | None = None
    proxy_inbound_listen_port: Int32 | None = None
    proxy_http_port: Int32 | None = None
    hbone_idle_timeout: Duration | None = None
    hbone_listen_port: Int32 | None = None
    ingress_class: str | None = None
    ingress_service: str | None = None
    ingress_controller_mode: IngressMode | None = None
    ingress_selector: str | None = None
    enable_tracing: bool | None = None
    enable_envoy_access_log_service: bool | None = None
    disable_envoy_listener_log: bool | None = None
    config_sources: tuple[ConfigSource, ...] | None = None
    ca_certificates: tuple[CertificateData, ...] | None = None
    zone_aware_lb_setting: ZoneAwareBalancing | None = None
    inbound_cluster_stat_name: str | None = None
    outbound_cluster_stat_name: str | None = None
    certificates: tuple[Certificate, ...] | None = None
    service_settings: tuple[ServiceSettings, ...] | None = None
    service_scope_configs: tuple[ServiceScopeConfig, ...] | None = None
    verify_certificate_at_client: bool | None = None
    ca: Authority | None = None
    default_providers: DefaultProviders | None = None
    discovery_selectors: tuple[LabelSelector, ...] | None = None
    default_inbound_http_retry_policy: Retry | None = None
    mesh_mtls: MeshTls | None = field(default=None, name="meshMTLS")
    tls_defaults: MeshTls | None = None
    default_traffic_policy: DefaultTrafficPolicy | None = None
    service_entry_visibility: ServiceEntryVisibility | None = None
    extension_providers: tuple[ExtensionProvider, ...] | None = None


_AMBIENT = "proxies stand beside their workloads here: there is no ambient mode"
NOT_READ = {
    "ca": "the mesh's own CA signs; agents can be sent to another one by CA_ADDR",
    "certificates": "deprecated, and nothing of Istio's reads it any more: use cert-manager",
    "configSources": "configuration comes from the API server, or from a folder of manifests",
    "hboneIdleTimeout": _AMBIENT,
    "hboneListenPort": _AMBIENT,
    "serviceScopeConfigs": _AMBIENT,
    "verifyCertificateAtClient": "deprecated, and nothing of Istio's reads it any more: clients "
    "verify servers unless they are told insecureSkipVerify",
}
"""Fields of MeshConfig that have no effect here, and why."""

_PLACE = ((None, "data"), KEY)


def read(resource: ConfigMap) -> tuple[MeshConfig | None, list[Problem]]:
    """Return what the ConfigMap says, or None and why. No text at all says nothing.

    What it says of networks is judged with it, as the two are taken or refused together.
    """
    report = Report(resource.ref)
    mesh_networks.read(resource, report)
    found = documents.read(resource.data.get(KEY, ""), "")
    if not found:
        return (None if _failed(report) else MeshConfig()), report.problems
    raw = found[0].raw
    if raw is None:
        for problem in found[0].problems:
            text = f"line {problem.line} of the text: {problem.text}"
            report.error(_PLACE, problem.reason, text)
        return None, report.problems
    _warn(raw, report)
    config = reader_of(MeshConfig)(raw, _PLACE, report)
    report.problems[:] = map(_lenient, report.problems)
    if isinstance(config, MeshConfig):
        _check(config, report)
    if not isinstance(config, MeshConfig) or _failed(report):
        return None, report.problems
    return config, report.problems


def _lenient(problem: Problem) -> Problem:
    """A field that nobody knows is left out: old meshes still have some, and the rest must hold."""
    unknown = problem.reason == reasons.UNKNOWN_FIELD
    return replace(problem, severity=Severity.WARNING) if unknown else problem


def _failed(report: Report) -> bool:
    return any(problem.severity is Severity.ERROR for problem in report.problems)


def _warn(raw: Raw, report: Report) -> None:
    """Warn of each field that has no effect."""
    for name, value in raw.items():
        why = NOT_READ.get(camel(name))
        if value is not None and why:
            text = f"has no effect: {why}"
            report.warning((_PLACE, name), reasons.UNSUPPORTED_FIELD, text)


def camel(name: str) -> str:
    """Return the spelling of manifests of a field that may be written in snake case."""
    first, *rest = name[:100].split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def is_json(form: str) -> bool:
    """Tell whether the format of a log in JSON is one: a mapping of formats."""
    try:
        return isinstance(json.loads(form), dict)
    except (ValueError, RecursionError):
        return False


def _check_log(config: MeshConfig, report: Report) -> None:
    form = config.access_log_format
    if config.access_log_encoding is LogEncoding.JSON and form and not is_json(form):
        text = "is not a mapping in JSON: the default format is used"
        report.warning((_PLACE, "accessLogFormat"), reasons.INVALID_VALUE, text)
    if form:
        check_format = (
            check_fields if config.access_log_encoding is LogEncoding.JSON else check_text
        )
        check_format(form, (_PLACE, "accessLogFormat"), report)
    check_file(config.access_log_file or "", (_PLACE, "accessLogFile"), report)


def _check(config: MeshConfig, report: Report) -> None:
    """Report values that no mesh can have."""
    check_duration(config.connect_timeout, (_PLACE, "connectTimeout"), report)
    _check_refresh(config.dns_refresh_rate, (_PLACE, "dnsRefreshRate"), report)
    check_keepalive(config.tcp_keepalive, (_PLACE, "tcpKeepalive"), report)
    detection = (_PLACE, "protocolDetectionTimeout")
    check_idle_timeout(config.protocol_detection_timeout, detection, report)
    check_retries(config.default_http_retry_policy, (_PLACE, "defaultHttpRetryPolicy"), report)
    place = (_PLACE, "localityLbSetting")
    check_localities(config.locality_lb_setting, place, report, outlier=True)
    check_providers(config.extension_providers or (), (_PLACE, "extensionProviders"), report)
    _check_policies(config, report)
    _check_log(config, report)
    if config.default_config:
        check_proxy_defaults(config.default_config, (_PLACE, "defaultConfig"), report)
    if config.trust_domain is not None:
        _check_trust_domain(config.trust_domain, (_PLACE, "trustDomain"), report)
    for index, alias in enumerate(config.trust_domain_aliases or ()):
        _check_trust_domain(alias, ((_PLACE, "trustDomainAliases"), index), report)


def _check_refresh(rate: Duration | None, path: Path, report: Report) -> None:
    check_duration(rate, path, report)
    if rate == 1:
        report.error(path, reasons.INVALID_DURATION, "must be longer than 1ms")


def _check_policies(config: MeshConfig, report: Report) -> None:
    _check_outbound(config.outbound_traffic_policy, (_PLACE, "outboundTrafficPolicy"), report)
    place = (_PLACE, "zoneAwareLbSetting")
    check_zones(config.zone_aware_lb_setting, place, report, outlier=True)
    place = (_PLACE, "defaultInboundHttpRetryPolicy")
    check_inbound_retries(config.default_inbound_http_retry_policy, place, report)
    check_mesh_tls(config.mesh_mtls, (_PLACE, "meshMTLS"), report)
    check_tls_defaults(config.tls_defaults, (_PLACE, "tlsDefaults"), report)
    place = (_PLACE, "defaultTrafficPolicy")
    check_default_policy(config.default_traffic_policy, place, report)
    check_roots(config.ca_certificates, (_PLACE, "caCertificates"), report)
    place = (_PLACE, "serviceEntryVisibility")
    check_entry_visibility(config.service_entry_visibility, place, report)
    for index, it in enumerate(config.ca_certificates or ()):
        for at, domain in enumerate(it.trust_domains):
            named = ((((_PLACE, "caCertificates"), index), "trustDomains"), at)
            _check_trust_domain(domain, named, report)
    check_service_settings(config.service_settings, (_PLACE, "serviceSettings"), report)
    check_label_selectors(config.discovery_selectors, (_PLACE, "discoverySelectors"), report)
    for field_name, port in (
        ("proxyListenPort", config.proxy_listen_port),
        ("proxyInboundListenPort", config.proxy_inbound_listen_port),
        ("proxyHttpPort", config.proxy_http_port or None),  # 0: no such port
    ):
        if port is not None:
            check_port(port, (_PLACE, field_name), report)


def _check_outbound(policy: OutboundTrafficPolicy | None, path: Path, report: Report) -> None:
    if policy is None:
        return
    if not policy.tls:
        return
    check_client_tls(policy.tls, (path, "tls"), report, namespace="")
    if policy.tls.credential_name:
        text = "Secrets are given to chosen workloads only, by a DestinationRule: name files"
        report.error(((path, "tls"), "credentialName"), reasons.CONFLICTING_FIELDS, text)
    if policy.mode is not OutboundMode.ALLOW_ANY_DYNAMIC_DNS:
        text = "counts in mode ALLOW_ANY_DYNAMIC_DNS only"
        report.warning((path, "tls"), reasons.NO_EFFECT, text)


def _check_trust_domain(domain: str, path: Path, report: Report) -> None:
    labels = domain.removesuffix(".").split(".")
    if not all(map(is_label, labels)):
        report.error(path, reasons.INVALID_HOST, f"{domain[:100]!r} is not a trust domain")
