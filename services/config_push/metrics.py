"""Metrics of config-push: Istio's names where Istio has one."""

from collections.abc import Mapping
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from libs.model.delta import Delta
from libs.model.mesh import Table
from libs.runtime import build
from libs.runtime.clock import SystemClock
from libs.runtime.metrics import Total
from libs.xds.types import (
    BOOTSTRAP,
    CLUSTER,
    ENDPOINT,
    EXTENSION,
    LISTENER,
    NAME_TABLE,
    ROUTE,
    SECRET,
)

TYPE_NAMES: Mapping[str, str] = {
    CLUSTER: "cds",
    ENDPOINT: "eds",
    LISTENER: "lds",
    ROUTE: "rds",
    SECRET: "sds",
    EXTENSION: "ecds",
    NAME_TABLE: "nds",
    BOOTSTRAP: "bootstrap",
}


def type_name(type_url: str) -> str:
    """Return a label value for a type: one of a fixed set, whatever a proxy asks for."""
    return TYPE_NAMES.get(type_url, "other")


_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 3, 5, 10, 20, 30)

_STARTED = SystemClock().monotonic()
INFO = Gauge("pilot_info", "1 for the version of the control plane.", ["version"])
INFO.labels(version=build.version()).set(1)
UPTIME = Gauge("istiod_uptime_seconds", "Seconds since this process began.")
UPTIME.set_function(lambda: SystemClock().monotonic() - _STARTED)
PASSED = Counter(
    "seine_push_certificates_passed", "Requests for certificates, by the CA's answer.", ["code"]
)
MACHINES = Gauge("seine_push_machines", "Machines of WorkloadGroups that are connected.")
CONNECTED = Gauge("pilot_xds", "Proxies that are connected.", ["version"])
PUSHES = Total("pilot_xds_pushes", "Responses sent.", ["type"])
INBOUND_UPDATES = Total(
    "pilot_inbound_updates",
    "Changes of the mesh that arrived, by what moved: svc, svcdelete, eds or config.",
    ["type"],
)
DEBOUNCE = Histogram(
    "pilot_debounce_time",
    "Seconds from a change's arrival here to the round of pushes that it is in.",
    buckets=(0.001, 0.01, 0.1, 0.5, 1, 3, 5, 10, 20, 30),
)
LARGEST_REQUEST = Gauge("pilot_xds_recv_max", "Bytes of the largest request so far.")
SDS_ERRORS = Counter(
    "pilot_sds_certificate_errors", "Credentials of Secrets that proxies want and are not had."
)
PUSH_TRIGGERS = Total("pilot_push_triggers", "Rounds of pushes, by what caused them.", ["type"])
CONVERGENCE = Histogram(
    "pilot_proxy_convergence_time",
    "Seconds from a change's arrival here to its last byte written to a proxy.",
    buckets=_SECONDS,
)
QUEUE_TIME = Histogram(
    "pilot_proxy_queue_time", "Seconds that a proxy waited in the push queue.", buckets=_SECONDS
)
PUSH_TIME = Histogram(
    "pilot_xds_push_time", "Seconds to make what a batch of proxies is sent.", buckets=_SECONDS
)
SEND_TIME = Histogram(
    "pilot_xds_send_time", "Seconds to write one response to a proxy.", buckets=_SECONDS
)
REJECTS = Total("pilot_total_xds_rejects", "Responses that a proxy refused.", ["type"])
TYPE_REJECTS: Mapping[str, Total] = {
    type_url: Total(f"pilot_xds_{name}_reject", f"Refused responses of {name.upper()}.")
    for type_url, name in TYPE_NAMES.items()
    if name in {"cds", "eds", "lds", "rds"}
}
EXPIRED_NONCES = Total(
    "pilot_xds_expired_nonce", "Answers to responses that are not waited for.", ["type"]
)
CONFIG_SIZE = Histogram(
    "pilot_xds_config_size_bytes",
    "Bytes of a response.",
    ["type"],
    buckets=(1e3, 1e4, 1e5, 1e6, 4e6, 1e7, 4e7),
)
INTERNAL_ERRORS = Total("pilot_total_xds_internal_errors", "Failures of our own.")
WRITE_TIMEOUTS = Total("pilot_xds_write_timeout", "Streams ended because the proxy did not read.")

FEED_SYNCED = Gauge("seine_push_feed_synced", "1 while the mesh comes from discovery.")
FEED_RESTARTS = Counter("seine_push_feed_restarts", "Subscriptions that ended.", ["reason"])
FEED_BAD_ROWS = Counter("seine_push_feed_bad_rows", "Rows that could not be read and were kept.")
GENERATION_FAILURES = Counter(
    "seine_push_generation_failures", "Types of a class that could not be generated.", ["type"]
)
GENERATED = Counter(
    "seine_push_generated", "Sets of resources by where they came from.", ["type", "origin"]
)
CLASSES = Gauge("seine_push_classes", "Classes of proxies that get the same bytes.")
COALESCED = Counter(
    "seine_push_coalesced", "Pushes merged into one that the proxy was not ready for yet."
)
RELEASED = Counter(
    "seine_push_released", "Times that a proxy was sent what waited for answers that did not come."
)
REFUSED_STREAMS = Counter("seine_push_refused_streams", "Streams that were ended.", ["reason"])
CACHE = Counter("seine_push_cache", "Operations on the shared cache.", ["outcome"])
CACHE_WRITES_DROPPED = Counter(
    "seine_push_cache_writes_dropped", "Values not kept because too many were waiting."
)
CREDENTIAL_RESTARTS = Counter(
    "seine_push_credential_restarts", "Times that following credentials ended and began again."
)
FINDINGS_LEFT_OUT = Gauge(
    "seine_push_findings_left_out",
    "Patches of EnvoyFilters, and conflicts of listeners, that are too many to be told of.",
)
CONFLICT_REASONS = ("HTTP over TCP", "TCP over TCP", "a port of the proxy", "server-first protocol")
LISTENER_CONFLICTS = Gauge(
    "seine_push_listener_conflicts",
    "Listeners that somebody wants at a proxy, and something older or the proxy itself has.",
    ["reason"],
)
RECEIPTS_OPEN = Gauge("seine_push_receipts_open", "Changes that some proxy has not answered.")
READERS_REFUSED = Counter(
    "seine_push_readers_refused", "Readers of receipts sent away, because too many follow already."
)


class _Bound:
    """The children of a metric by type, looked up once."""

    def __init__(self, metric: Total | Histogram | Counter) -> None:
        self._metric = metric
        self._children: dict[str, Any] = {}

    def __getitem__(self, type_url: str) -> Any:  # noqa: ANN401  # the metric's own kind
        child = self._children.get(type_url)
        if child is None:
            child = self._metric.labels(type=type_name(type_url))
            if type_url in TYPE_NAMES:
                self._children[type_url] = child
        return child


PUSHES_OF = _Bound(PUSHES)
CONFIG_SIZE_OF = _Bound(CONFIG_SIZE)

_SORTS = {Table.SERVICE: "svc", Table.ENDPOINTS: "eds", Table.WORKLOAD: "eds"}
_SORTS_GONE = {Table.SERVICE: "svcdelete"}
_versions: set[str] = set()
_MAX_VERSIONS = 16


def version_label(version: str) -> str:
    """Return a proxy's version as a label; proxies that make versions up are all `other`."""
    if version not in _versions:
        if len(_versions) >= _MAX_VERSIONS:
            return "other"
        _versions.add(version)
    return version


_largest = 0


def note_request(size: int) -> None:
    """Remember the largest request, in bytes."""
    global _largest  # noqa: PLW0603  # of the process, as the gauge is
    if size > _largest:
        _largest = size
        LARGEST_REQUEST.set(size)


def note_update(delta: Delta) -> None:
    """Count what a change of the mesh moved: each sort once."""
    kinds = {_SORTS.get(key.table, "config") for key in delta.changed}
    kinds |= {_SORTS_GONE.get(key.table, _SORTS.get(key.table, "config")) for key in delta.removed}
    for kind in kinds:
        INBOUND_UPDATES.labels(type=kind).inc()
