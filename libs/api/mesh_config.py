"""MeshConfig: the settings of the whole mesh, a YAML text in the ConfigMap `istio`, key `mesh`.

Fields that Istio has and the mesh does not read yet are known by name, so that they can be told
apart from spelling mistakes. Defaults of absent fields are not decided here: None is absent.
"""

from collections.abc import Mapping
from enum import StrEnum

from libs.api import documents, reasons
from libs.api.documents import Raw
from libs.api.extension_providers import ExtensionProvider, check_providers
from libs.api.kubernetes import ConfigMap
from libs.api.networking.destination_rule import H2UpgradePolicy, LocalityBalancing, TcpKeepalive
from libs.api.networking.virtual_service import Retry
from libs.api.path import Path
from libs.api.problem import Problem, Severity
from libs.api.readers import reader_of
from libs.api.report import Report
from libs.api.resource import Message
from libs.api.scalars import Duration
from libs.api.validate.durations import check_duration, check_idle_timeout
from libs.api.validate.hosts import is_label
from libs.api.validate.localities import check_localities
from libs.api.validate.retries import check_retries

NAME = "istio"
"""The name of the ConfigMap in the root namespace."""

KEY = "mesh"
"""The key of its data that holds the text."""


class OutboundMode(StrEnum):
    """What becomes of traffic to hosts that nobody declared."""

    REGISTRY_ONLY = "REGISTRY_ONLY"
    ALLOW_ANY = "ALLOW_ANY"


class OutboundTrafficPolicy(Message, frozen=True):
    """Traffic to hosts that nobody declared."""

    mode: OutboundMode = OutboundMode.ALLOW_ANY


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


class ProxyConfig(Message, frozen=True):
    """What of `defaultConfig` the control plane reads; the rest is for agents."""

    mesh_id: str = ""


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
    default_config: ProxyConfig | None = None
    extension_providers: tuple[ExtensionProvider, ...] | None = None


NOT_READ = frozenset(
    {
        "accessLogging",
        "ca",
        "caCertificates",
        "certificates",
        "configSources",
        "defaultInboundHttpRetryPolicy",
        "defaultProviders",
        "defaultTrafficPolicy",
        "disableEnvoyListenerLog",
        "discoverySelectors",
        "enableEnvoyAccessLogService",
        "enableTracing",
        "hboneIdleTimeout",
        "hboneListenPort",
        "inboundClusterStatName",
        "ingressClass",
        "ingressControllerMode",
        "ingressSelector",
        "ingressService",
        "meshMTLS",
        "outboundClusterStatName",
        "proxyHttpPort",
        "proxyInboundListenPort",
        "proxyListenPort",
        "serviceEntryVisibility",
        "serviceScopeConfigs",
        "serviceSettings",
        "thriftConfig",
        "tlsDefaults",
        "verifyCertificateAtClient",
        "zoneAwareLbSetting",
    }
)
"""Fields of MeshConfig that have no effect here yet."""

FOR_AGENTS = frozenset(
    {
        "availabilityZone",
        "binaryPath",
        "caCertificatesPem",
        "concurrency",
        "configPath",
        "connectionSettings",
        "controlPlaneAuthPolicy",
        "customConfigFile",
        "discoveryAddress",
        "discoveryRefreshDelay",
        "drainDuration",
        "envoyAccessLogService",
        "envoyMetricsService",
        "envoyMetricsServiceAddress",
        "extraStatTags",
        "fileFlushInterval",
        "fileFlushMinSizeKb",
        "gatewayTopology",
        "holdApplicationUntilProxyStarts",
        "image",
        "interceptionMode",
        "privateKeyProvider",
        "proxyAdminPort",
        "proxyBootstrapTemplatePath",
        "proxyHeaders",
        "proxyMetadata",
        "proxyStatsMatcher",
        "readinessProbe",
        "runtimeValues",
        "sds",
        "serviceCluster",
        "statNameLength",
        "statsCompression",
        "statsdUdpAddress",
        "statusPort",
        "terminationDrainDuration",
        "tracing",
        "tracingServiceName",
        "zipkinAddress",
    }
)
"""Fields of `defaultConfig` that agents read from their own environment."""

_PLACE = ((None, "data"), KEY)


def read(resource: ConfigMap) -> tuple[MeshConfig | None, list[Problem]]:
    """Return what the ConfigMap says, or None and why. No text at all says nothing."""
    report = Report(resource.ref)
    found = documents.read(resource.data.get(KEY, ""), "")
    if not found:
        return MeshConfig(), []
    raw = found[0].raw
    if raw is None:
        for problem in found[0].problems:
            text = f"line {problem.line} of the text: {problem.text}"
            report.error(_PLACE, problem.reason, text)
        return None, report.problems
    config = reader_of(MeshConfig)(_known(raw, report), _PLACE, report)
    if isinstance(config, MeshConfig):
        _check(config, report)
    failed = any(problem.severity is Severity.ERROR for problem in report.problems)
    return (config if isinstance(config, MeshConfig) and not failed else None), report.problems


def _known(raw: Raw, report: Report) -> dict[str, object]:
    """Return the fields to read, after a warning of each that has no effect yet."""
    known: dict[str, object] = {}
    for name, value in raw.items():
        if _camel(name) in NOT_READ:
            text = f"{name[:100]} is not supported yet, and has no effect"
            report.warning((_PLACE, name), reasons.UNSUPPORTED_FIELD, text)
        elif _camel(name) == "defaultConfig" and isinstance(value, Mapping):
            known[name] = {key: it for key, it in value.items() if _camel(key) not in FOR_AGENTS}
        else:
            known[name] = value
    return known


def _camel(name: str) -> str:
    first, *rest = name[:100].split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def _check(config: MeshConfig, report: Report) -> None:
    """Report values that no mesh can have."""
    check_duration(config.connect_timeout, (_PLACE, "connectTimeout"), report)
    check_duration(config.dns_refresh_rate, (_PLACE, "dnsRefreshRate"), report)
    detection = (_PLACE, "protocolDetectionTimeout")
    check_idle_timeout(config.protocol_detection_timeout, detection, report)
    check_retries(config.default_http_retry_policy, (_PLACE, "defaultHttpRetryPolicy"), report)
    place = (_PLACE, "localityLbSetting")
    check_localities(config.locality_lb_setting, place, report, outlier=True)
    check_providers(config.extension_providers or (), (_PLACE, "extensionProviders"), report)
    if config.trust_domain is not None:
        _check_trust_domain(config.trust_domain, (_PLACE, "trustDomain"), report)
    for index, alias in enumerate(config.trust_domain_aliases or ()):
        _check_trust_domain(alias, ((_PLACE, "trustDomainAliases"), index), report)


def _check_trust_domain(domain: str, path: Path, report: Report) -> None:
    labels = domain.removesuffix(".").split(".")
    if not all(map(is_label, labels)):
        report.error(path, reasons.INVALID_HOST, f"{domain[:100]!r} is not a trust domain")
