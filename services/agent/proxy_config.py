"""ProxyConfig: the part of the mesh's proxy settings that the agent itself needs.

Injection writes the merged settings of mesh, namespace and pod as JSON into PROXY_CONFIG. Fields
that only the control plane reads are not listed here: they travel on in the node's metadata.
"""

import re

import msgspec
from msgspec import Struct, field

from services.agent.health.probe import ReadinessProbe

MAX_BYTES = 64 * 1024
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 0.000001}
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(h|ms|us|m|s)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_DURATIONS = frozenset({"drainDuration", "terminationDrainDuration", "fileFlushInterval"})
_REMOTE = frozenset({"envoyAccessLogService", "envoyMetricsService"})


class ProxyConfigError(ValueError):
    """PROXY_CONFIG is not what its fields allow; the message says where."""


class StatsMatcher(Struct, frozen=True, rename="camel"):
    """Statistics to keep beside those that are always kept."""

    inclusion_prefixes: tuple[str, ...] = ()
    inclusion_suffixes: tuple[str, ...] = ()
    inclusion_regexps: tuple[str, ...] = ()


class RemoteTls(Struct, frozen=True, rename="camel"):
    """How the proxy speaks TLS to a server that its bootstrap names; files are paths in the pod."""

    mode: str = "DISABLE"  # or SIMPLE, MUTUAL, ISTIO_MUTUAL
    client_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    ca_crl: str = ""
    subject_alt_names: tuple[str, ...] = ()
    sni: str = ""
    insecure_skip_verify: bool = False


class Keepalive(Struct, frozen=True, rename="camel"):
    """TCP keepalive in seconds; 0 leaves it to the operating system."""

    probes: int = 0
    time: float = 0.0
    interval: float = 0.0


class RemoteService(Struct, frozen=True, rename="camel"):
    """A gRPC server at `host:port`; without an address there is none."""

    address: str = ""
    tls_settings: RemoteTls = field(default_factory=RemoteTls)
    tcp_keepalive: Keepalive = field(default_factory=Keepalive)


class ConnectionSettings(Struct, frozen=True, rename="camel"):
    """Limits of the whole proxy; all others come over xDS."""

    global_downstream_connection_limit: int = 0


class ProxyConfig(Struct, frozen=True, rename="camel"):
    """Istio's ProxyConfig, durations in seconds."""

    discovery_address: str = "istiod.istio-system.svc:15012"
    config_path: str = "./etc/istio/proxy"
    service_cluster: str = ""
    tracing_service_name: str = ""
    proxy_admin_port: int = 15000
    status_port: int = 15020
    concurrency: int = 0
    stat_name_length: int = 189
    drain_duration: float = 45.0
    termination_drain_duration: float = 5.0
    mesh_id: str = ""
    proxy_stats_matcher: StatsMatcher = field(default_factory=StatsMatcher)
    extra_stat_tags: tuple[str, ...] = ()
    stats_compression: bool = True
    statsd_udp_address: str = ""
    custom_config_file: str = ""
    envoy_access_log_service: RemoteService = field(default_factory=RemoteService)
    envoy_metrics_service: RemoteService = field(default_factory=RemoteService)
    runtime_values: dict[str, str] = field(default_factory=dict)
    ca_certificates_pem: tuple[str, ...] = ()
    file_flush_interval: float = 1.0
    file_flush_min_size_kb: int = 0
    connection_settings: ConnectionSettings = field(default_factory=ConnectionSettings)
    readiness_probe: ReadinessProbe | None = None


def parse(text: str) -> ProxyConfig:
    """Return the settings in `text`, a JSON object; empty text gives the defaults.

    Raises:
        ProxyConfigError: `text` is too long, no JSON, or a field has the wrong type.

    """
    if len(text) > MAX_BYTES:
        message = f"PROXY_CONFIG is longer than {MAX_BYTES} characters"
        raise ProxyConfigError(message)
    try:
        raw = msgspec.json.decode(text or "{}", type=dict[str, object])
        return msgspec.convert(_timed(raw), ProxyConfig)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        message = f"PROXY_CONFIG: {error}"
        raise ProxyConfigError(message) from error


def _timed(raw: dict[str, object]) -> dict[str, object]:
    """Return the object with its durations as seconds."""
    found = dict(raw)
    for name in _DURATIONS & raw.keys():
        if isinstance(given := raw[name], str):
            found[name] = seconds(given)
    for name in _REMOTE & raw.keys():
        found[name] = _with_keepalive(raw[name])
    return found


def _with_keepalive(service: object) -> object:
    if not isinstance(service, dict) or not isinstance(service.get("tcpKeepalive"), dict):
        return service
    timed = {
        name: seconds(given) if isinstance(given, str) else given
        for name, given in service["tcpKeepalive"].items()
    }
    return {**service, "tcpKeepalive": timed}


def seconds(text: str) -> float:
    """Return the seconds of a duration as Go and protobuf write them: `1h30m`, `250ms`, `5s`.

    Raises:
        ValueError: `text` is no such duration.

    """
    if not _DURATION.fullmatch(text.strip()):
        message = f"not a duration: {text!r}"
        raise ValueError(message)
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
