"""What is wanted of telemetry: traces, metrics and access logs, and where they go."""

from msgspec import Struct

from libs.model.ids import Ref
from libs.model.proxy_settings import Tag


class AccessLog(Struct, frozen=True, gc=False, omit_defaults=True):
    """An access log file of every proxy; no path: no log, no format: the default."""

    path: str = ""
    format: str = ""
    json: bool = False
    omit_empty: bool = False  # what has no value is left out


class TracingRule(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """How spans are made; None and empty: as the wider scope says."""

    side: str = ""  # "client", "server", or both
    providers: tuple[str, ...] = ()
    sampling: float | None = None  # percent
    disabled: bool | None = None
    tags: tuple[Tag, ...] = ()
    mesh_tags: bool | None = None  # who the workload is
    by_request_id: bool | None = None  # the request's id says whether it is traced
    propagate: bool | None = None  # the context is handed on


class MetricsRule(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A change of one metric, or with an empty name of all."""

    side: str = ""
    metric: str = ""  # without its prefix, such as `requests_total`
    disabled: bool | None = None
    tags: tuple[tuple[str, str | None], ...] = ()  # name and CEL; None takes the tag away


class LogRule(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Where access is logged, and which of it (CEL)."""

    side: str = ""
    providers: tuple[str, ...] = ()
    disabled: bool | None = None
    filter: str = ""


class TelemetryPolicy(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What the workloads of `selector` (or the gateways of `targets`) tell about themselves."""

    ref: Ref
    namespace: str
    name: str
    created: int = 0
    selector: dict[str, str] = {}
    targets: tuple[str, ...] = ()
    tracing: tuple[TracingRule, ...] = ()
    metrics_providers: tuple[str, ...] = ()
    metrics_interval: int = 0  # milliseconds; 0: as the wider scope says
    metrics: tuple[MetricsRule, ...] = ()
    logs: tuple[LogRule, ...] = ()


class Tracing(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """How spans are made: what all policies come to."""

    provider: str
    sampling: float = 1.0
    disabled: bool = False
    tags: tuple[Tag, ...] = ()
    mesh_tags: bool = True
    by_request_id: bool = True
    propagate: bool = True


class Log(Struct, frozen=True, gc=False, omit_defaults=True):
    """A provider of access logs; the empty one is the file that the mesh's settings name."""

    provider: str = ""
    filter: str = ""


class SideTelemetry(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What a workload tells as a client, or as a server."""

    tracing: Tracing | None = None
    logs: tuple[Log, ...] = (Log(),)
    metrics: bool = True
    overrides: tuple[MetricsRule, ...] = ()
    interval: int = 0  # milliseconds between reports of a connection; 0: only when it ends


class Telemetry(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What all policies for a workload come to."""

    client: SideTelemetry = SideTelemetry()
    server: SideTelemetry = SideTelemetry()
    refs: tuple[Ref, ...] = ()


class DefaultProviders(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Providers that are used where no policy names any."""

    tracing: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
