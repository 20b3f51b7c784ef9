"""Annotations: what a pod says of its own proxy, read and judged.

An annotation that cannot be what it should be is an error, and the pod is refused: a proxy that
runs in another way than its owner meant is worse than none. Annotations without effect are warned
of.
"""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from libs.api import reasons
from libs.api.path import Path
from libs.api.proxy_defaults import Interception
from libs.api.report import Report
from libs.inject import without_effect, words

T = TypeVar("T")

MAX_TEXT = 16 * 1024
"""Of one annotation that is parsed: whoever may create a pod writes it."""
MAX_ENTRIES = 1000
"""Of one list in an annotation."""

_PLACE: Path = ((None, "metadata"), "annotations")
_QUANTITY = re.compile(r"[0-9]{1,18}(\.[0-9]{1,9})?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?")
_LEVELS = frozenset({"trace", "debug", "info", "warning", "error", "critical", "off"})
_COMPONENT_LEVELS = re.compile(r"[a-z0-9_]{1,40}:[a-z]{2,8}(,[a-z0-9_]{1,40}:[a-z]{2,8}){0,99}")
_AGENT_LEVELS = re.compile(r"([a-z0-9-]{1,40}:)?[a-z]{2,8}(,([a-z0-9-]{1,40}:)?[a-z]{2,8}){0,99}")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@\[\]-]{0,1023}")
_IMAGE_TYPE = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,14}\+?")


class Traffic(Struct, frozen=True, kw_only=True):
    """What is intercepted; None where the pod is silent. Lists are texts as `init` takes them."""

    include_outbound_ranges: str | None = None
    exclude_outbound_ranges: str | None = None
    include_inbound_ports: str | None = None
    exclude_inbound_ports: str | None = None
    include_outbound_ports: str | None = None
    exclude_outbound_ports: str | None = None
    exclude_interfaces: str | None = None
    virtual_interfaces: str | None = None


class Stats(Struct, frozen=True, kw_only=True):
    """Which statistics are kept beside the usual ones."""

    prefixes: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    regexps: tuple[str, ...] = ()
    extra_tags: tuple[str, ...] = ()
    compression: bool | None = None


class Wishes(Struct, frozen=True, kw_only=True):
    """What a pod says of its proxy; None and empty where it says nothing."""

    templates: tuple[str, ...] = ()
    image: str = ""
    image_type: str = ""
    requests: Mapping[str, str] = {}
    limits: Mapping[str, str] = {}
    interception: Interception | None = None
    log_level: str = ""
    component_log_level: str = ""
    agent_log_level: str = ""
    bootstrap_override: str = ""
    volumes: Mapping[str, Any] = {}
    mounts: Mapping[str, Any] = {}
    rewrite_probes: bool | None = None
    native: bool | None = None
    stop_after_drain: bool | None = None
    bind_low_ports: bool = False
    status_port: int | None = None
    readiness_delay: int | None = None
    readiness_period: int | None = None
    readiness_failures: int | None = None
    discovery_address: str = ""
    merge_metrics: bool = True
    traffic: Traffic = Traffic()
    stats: Stats = Stats()


def read(annotations: Mapping[str, str], report: Report) -> Wishes:
    """Return what the annotations of a pod say; what is wrong with them goes into `report`."""
    reader = _Reader(annotations, report)
    for name, why in without_effect.WHY["Pod"].items():
        if name in annotations:
            report.warning((_PLACE, name), reasons.NO_EFFECT, why)
    sidecar = "sidecar.istio.io/"
    return Wishes(
        templates=reader.read(words.TEMPLATES, _words) or (),
        image=reader.matching(sidecar + "proxyImage", _IMAGE, "an image"),
        image_type=reader.matching(sidecar + "proxyImageType", _IMAGE_TYPE, "a variant"),
        requests=reader.quantities(cpu="proxyCPU", memory="proxyMemory"),
        limits=reader.quantities(cpu="proxyCPULimit", memory="proxyMemoryLimit"),
        interception=reader.read(sidecar + "interceptionMode", _mode),
        log_level=reader.read(sidecar + "logLevel", _level) or "",
        component_log_level=reader.matching(
            sidecar + "componentLogLevel", _COMPONENT_LEVELS, "component:level, …"
        ),
        agent_log_level=reader.matching(sidecar + "agentLogLevel", _AGENT_LEVELS, "scope:level, …"),
        bootstrap_override=reader.matching(
            sidecar + "bootstrapOverride", _NAME, "the name of a ConfigMap"
        ),
        volumes=reader.read(sidecar + "userVolume", _object) or {},
        mounts=reader.read(sidecar + "userVolumeMount", _object) or {},
        rewrite_probes=reader.read(sidecar + "rewriteAppHTTPProbers", _boolean),
        native=reader.read(sidecar + "nativeSidecar", _boolean),
        stop_after_drain=reader.read(words.STOP_AFTER_DRAIN, _boolean),
        bind_low_ports=reader.read(sidecar + "capNetBindService", _boolean) or False,
        status_port=reader.read("status.sidecar.istio.io/port", _port),
        readiness_delay=reader.read(_READINESS + "initialDelaySeconds", _seconds),
        readiness_period=reader.read(_READINESS + "periodSeconds", _seconds),
        readiness_failures=reader.read(_READINESS + "failureThreshold", _seconds),
        discovery_address=annotations.get(sidecar + "discoveryAddress", ""),
        merge_metrics=reader.read("prometheus.istio.io/merge-metrics", _boolean) is not False,
        traffic=_traffic(reader),
        stats=_stats(reader),
    )


_READINESS = "readiness.status.sidecar.istio.io/"
_TRAFFIC = "traffic.sidecar.istio.io/"


def _traffic(reader: "_Reader") -> Traffic:
    virtual = reader.read(words.VIRTUAL_INTERFACES, _interfaces)
    return Traffic(
        include_outbound_ranges=reader.read(_TRAFFIC + "includeOutboundIPRanges", _ranges),
        exclude_outbound_ranges=reader.read(_TRAFFIC + "excludeOutboundIPRanges", _ranges),
        include_inbound_ports=reader.read(_TRAFFIC + "includeInboundPorts", _ports_or_all),
        exclude_inbound_ports=reader.read(_TRAFFIC + "excludeInboundPorts", _ports),
        include_outbound_ports=reader.read(_TRAFFIC + "includeOutboundPorts", _ports),
        exclude_outbound_ports=reader.read(_TRAFFIC + "excludeOutboundPorts", _ports),
        exclude_interfaces=reader.read(_TRAFFIC + "excludeInterfaces", _interfaces),
        virtual_interfaces=virtual or reader.read(_TRAFFIC + "kubevirtInterfaces", _interfaces),
    )


def _stats(reader: "_Reader") -> Stats:
    stats = "sidecar.istio.io/stats"
    return Stats(
        prefixes=reader.read(stats + "InclusionPrefixes", _words) or (),
        suffixes=reader.read(stats + "InclusionSuffixes", _words) or (),
        regexps=reader.read(stats + "InclusionRegexps", _words) or (),
        extra_tags=reader.read("sidecar.istio.io/extraStatTags", _words) or (),
        compression=reader.read(stats + "Compression", _boolean),
    )


class _Reader:
    """Reads annotations one by one. A parser raises ValueError, with what it wanted."""

    def __init__(self, annotations: Mapping[str, str], report: Report) -> None:
        self._annotations = annotations
        self._report = report

    def read(self, name: str, parse: Callable[[str], T]) -> T | None:
        text = self._annotations.get(name)
        if text is None:
            return None
        try:
            return parse(_short(text))
        except ValueError as error:
            self._report.error((_PLACE, name), reasons.INVALID_ANNOTATION, str(error))
            return None

    def matching(self, name: str, pattern: re.Pattern[str], what: str) -> str:
        def parse(text: str) -> str:
            if text and not pattern.fullmatch(text):
                raise ValueError(f"{text[:100]!r} is not {what}")
            return text

        return self.read(name, parse) or ""

    def quantities(self, **names: str) -> dict[str, str]:
        found = {
            resource: self.matching(f"sidecar.istio.io/{name}", _QUANTITY, "a quantity")
            for resource, name in names.items()
        }
        return {resource: quantity for resource, quantity in found.items() if quantity}


def _short(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError(f"must not be longer than {MAX_TEXT} characters")
    return text.strip()


def _words(text: str) -> tuple[str, ...]:
    found = tuple(word for part in text.split(",") if (word := part.strip()))
    if len(found) > MAX_ENTRIES:
        raise ValueError(f"has more than {MAX_ENTRIES} entries")
    return found


def _boolean(text: str) -> bool:
    if text.lower() in {"1", "t", "true"}:
        return True
    if text.lower() in {"0", "f", "false"}:
        return False
    raise ValueError(f"{text[:100]!r} is neither true nor false")


def _mode(text: str) -> Interception:
    try:
        return Interception(text)
    except ValueError:
        raise ValueError(f"{text[:100]!r} is none of {', '.join(Interception)}") from None


def _level(text: str) -> str:
    if text not in _LEVELS:
        raise ValueError(f"{text[:100]!r} is none of {', '.join(sorted(_LEVELS))}")
    return text


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise ValueError(f"{text[:100]!r} is not a whole number")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) <= 65535):
        raise ValueError(f"{text[:100]!r} is not a port")
    return int(text)


def _ports(text: str) -> str:
    return ",".join(str(_port(word)) for word in _words(text))


def _ports_or_all(text: str) -> str:
    return "*" if text == "*" else _ports(text)


def _ranges(text: str) -> str:
    if text == "*":
        return text
    found = []
    for word in _words(text):
        try:
            found.append(str(ip_network(word, strict=False)))
        except ValueError:
            raise ValueError(f"{word[:100]!r} is not a block of addresses") from None
    return ",".join(found)


def _interfaces(text: str) -> str:
    for word in _words(text):
        if not _INTERFACE.fullmatch(word):
            raise ValueError(f"{word[:100]!r} is not the name of an interface")
    return ",".join(_words(text))


def _object(text: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text or "{}", type=dict[str, dict[str, Any]])
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise ValueError(f"must be a JSON object of objects: {error}") from None
    if len(found) > MAX_ENTRIES:
        raise ValueError(f"has more than {MAX_ENTRIES} entries")
    return found
