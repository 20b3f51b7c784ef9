"""ProxyConfig: the part of the mesh's proxy settings that the agent itself needs.

Injection writes the merged settings of mesh, namespace and pod as JSON into PROXY_CONFIG. Fields
that only the control plane reads are not listed here: they travel on in the node's metadata.
"""

import re

import msgspec
from msgspec import Struct, field

MAX_BYTES = 64 * 1024
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 0.000001}
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(h|ms|us|m|s)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")


class ProxyConfigError(ValueError):
    """PROXY_CONFIG is not what its fields allow; the message says where."""


class StatsMatcher(Struct, frozen=True, rename="camel"):
    """Statistics to keep beside those that are always kept."""

    inclusion_prefixes: tuple[str, ...] = ()
    inclusion_suffixes: tuple[str, ...] = ()
    inclusion_regexps: tuple[str, ...] = ()


class ProxyConfig(Struct, frozen=True, rename="camel"):
    """Istio's ProxyConfig, durations in seconds."""

    discovery_address: str = "istiod.istio-system.svc:15012"
    config_path: str = "./etc/istio/proxy"
    service_cluster: str = ""
    proxy_admin_port: int = 15000
    status_port: int = 15020
    concurrency: int = 0
    stat_name_length: int = 189
    drain_duration: float = 45.0
    termination_drain_duration: float = 5.0
    mesh_id: str = ""
    proxy_stats_matcher: StatsMatcher = field(default_factory=StatsMatcher)


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
        for name in ("drainDuration", "terminationDrainDuration"):
            if isinstance(given := raw.get(name), str):
                raw[name] = seconds(given)
        return msgspec.convert(raw, ProxyConfig)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        message = f"PROXY_CONFIG: {error}"
        raise ProxyConfigError(message) from error


def seconds(text: str) -> float:
    """Return the seconds of a duration as Go and protobuf write them: `1h30m`, `250ms`, `5s`.

    Raises:
        ValueError: `text` is no such duration.

    """
    if not _DURATION.fullmatch(text.strip()):
        message = f"not a duration: {text!r}"
        raise ValueError(message)
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
