"""Istio's standard metrics, counted by Envoy itself: `istio_requests_total` and its kin.

The loggers below turn each request or connection into counters and histograms whose tags are
formats of the access log. Envoy writes them as `envoy_istio_…`; whoever merges metrics takes the
first word off. How many series a logger may make is bounded, so that whoever varies what ends up in
a tag cannot fill Envoy's memory: what is over the limit is not counted. A series goes with the last
listener that counted into it, once that has drained; a scope that is shared by name would keep it,
but Envoy 1.40 ends with a segmentation fault when it validates such a configuration.

Bytes of TCP connections are counted by the agent while they last, if there is one that can
(`tally`), and else by Envoy when they end.

Messages of gRPC have a logger of their own, which is asked only about streams whose messages were
counted (`filters.grpc_messages`): a counter without a value is an error in Envoy's log.

Of its own side a proxy knows everything. Of its peer, as a server, what the certificate proves (the
principal and the namespace) and, for requests, what `peer_metadata` believes; as a client, what the
endpoint says. The rest is `unknown`.
"""

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog, AccessLogFilter, LogTypeFilter
from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogType
from envoy.extensions.access_loggers.stats.v3.stats_pb2 import Config
from google.protobuf.wrappers_pb2 import UInt32Value, UInt64Value

from libs.model.telemetry import MetricsRule
from libs.proxy.scope import InboundScope
from libs.xds import names
from libs.xds.generate import tally, typed
from libs.xds.generate.filters import grpc_messages, peer_metadata
from libs.xds.types import field

Direction = Literal["inbound", "outbound"]

NAME = "envoy.access_loggers.stats"
UNKNOWN = "unknown"

_MAX_STATS = 10_000  # of each kind, for one logger
_PREFIX = "istio"
SCOPE = {
    "max_counters": _MAX_STATS,
    "max_gauges": _MAX_STATS,
    "max_histograms": _MAX_STATS,
    "prefix": _PREFIX,
}
"""The scope of every logger, in JSON: the protos on PyPI do not know the field."""
TYPE_URL = f"type.googleapis.com/{Config.DESCRIPTOR.full_name}"

_NO_REVISION = "latest"
_MESSAGE_WAYS = ("request", "response")
_BYTES = {
    "tcp_sent_bytes_total": "%BYTES_SENT%",
    "tcp_received_bytes_total": "%BYTES_RECEIVED%",
}
_STATS_SCOPE_FIELD = 6  # of Config; newer than the protos on PyPI
_SERVICE = "xds.cluster_metadata.filter_metadata['istio']['services'][0]"
_IS_GRPC = (
    "'content-type' in request.headers"
    " && request.headers['content-type'].startsWith('application/grpc')"
)

Changes = tuple[MetricsRule, ...]

_Labels = Mapping[str, str]
_Unit = Config.Histogram.Unit


class Side(NamedTuple):
    """What a proxy says of its own workload."""

    workload: str
    namespace: str
    app: str
    version: str
    canonical_service: str
    canonical_revision: str
    cluster: str


class Called(NamedTuple):
    """The service that an inbound port stands for."""

    host: str
    name: str


def side(own: InboundScope) -> Side:
    """Return how metrics name the workload of `own`."""
    return Side(
        workload=own.workload_name,
        namespace=own.namespace,
        app=own.labels.get("app", UNKNOWN),
        version=own.labels.get("version", UNKNOWN),
        canonical_service=own.canonical_name,
        canonical_revision=own.canonical_revision,
        cluster=own.settings.cluster_id,
    )


def told(own: InboundScope) -> tuple[str, ...]:
    """Return what a proxy tells servers of its own workload, in the order of the fields."""
    known = side(own)._asdict()
    known["workload_namespace"] = known["namespace"]
    values = (known[field] for field in peer_metadata.FIELDS)
    return tuple("" if value == UNKNOWN else value for value in values)


@lru_cache(maxsize=4096)
def of_requests(  # noqa: PLR0917 - the key of one memo entry
    own: Side, direction: Direction, called: Called | None = None, changes: Changes = ()
) -> tuple[AccessLog, ...]:
    """Return the loggers that count requests. `called` is missing for ports without a service.

    `changes` are what policies say of single metrics, the strongest last.
    """
    labels = _labels_of_requests(own, direction, called)
    config = _changed(
        Config(
            counters=[_counter("requests_total", labels)],
            histograms=[
                _histogram("request_duration_milliseconds", "%DURATION%", labels),
                _histogram("request_bytes", "%CEL(request.total_size)%", labels),
                _histogram("response_bytes", "%CEL(response.total_size)%", labels),
            ],
        ),
        changes,
    )
    return (_logger(config, None),) if config.counters or config.histograms else ()


@lru_cache(maxsize=4096)
def of_messages(  # noqa: PLR0917 - the key of one memo entry
    own: Side, direction: Direction, called: Called | None = None, changes: Changes = ()
) -> tuple[AccessLog, ...]:
    """Return the loggers that count the messages of gRPC; see `of_requests`."""
    labels = _labels_of_requests(own, direction, called)
    counters = [
        _counter(f"{way}_messages_total", labels, grpc_messages.number(way))
        for way in _MESSAGE_WAYS
    ]
    config = _changed(Config(counters=counters), changes)
    return (_logger(config, grpc_messages.known()),) if config.counters else ()


def counts_messages(changes: Changes) -> bool:
    """Tell whether anything is left, after `changes`, that needs the messages of gRPC counted."""
    stats = [Config.Stat(name=f"{way}_messages_total") for way in _MESSAGE_WAYS]
    return any(_apply(stat, changes) for stat in stats)


@lru_cache(maxsize=4096)
def of_connections(  # noqa: PLR0917 - the key of one memo entry
    own: Side,
    direction: Direction,
    called: Called | None = None,
    changes: Changes = (),
    *,
    lasting: bool = False,
) -> tuple[AccessLog, ...]:
    """Return the loggers that count connections and their bytes.

    With `lasting` the agent is told of the bytes while a connection lasts and counts them; else
    they are counted when it ends.
    """
    labels = {
        **_labels(own, direction, called),
        "request_protocol": "tcp",
        "response_flags": "%RESPONSE_FLAGS%",
    }
    opened = _changed(Config(counters=[_counter("tcp_connections_opened_total", labels)]), changes)
    closed = _changed(Config(counters=[_counter("tcp_connections_closed_total", labels)]), changes)
    of_bytes = [_counter(name, labels, text) for name, text in _BYTES.items()]
    counted = _changed(Config(counters=of_bytes), changes).counters
    if not lasting:
        closed.counters.extend(counted)
    both = (
        (opened, _when(AccessLogType.TcpUpstreamConnected)),
        (closed, _when(AccessLogType.TcpConnectionEnd)),
    )
    found = [_logger(config, only) for config, only in both if config.counters]
    return (*found, *(tally.loggers(counted) if lasting else ()))


def counts_bytes(changes: Changes) -> bool:
    """Tell whether anything is left, after `changes`, that counts bytes of connections."""
    return any(_apply(Config.Stat(name=name), changes) for name in _BYTES)


def _changed(config: Config, changes: Changes) -> Config:
    """Return the metrics after `changes`: some are gone, some have other tags."""
    if not changes:
        return config
    found = Config()
    for counter in config.counters:
        if _apply(counter.stat, changes):
            found.counters.append(counter)
    for histogram in config.histograms:
        if _apply(histogram.stat, changes):
            found.histograms.append(histogram)
    return found


def _apply(stat: Config.Stat, changes: Changes) -> bool:
    """Change the tags of a metric; False if it is switched off."""
    tags = {tag.name: tag.value_format for tag in stat.tags}
    enabled = True
    for change in changes:
        if change.metric in {"", stat.name}:
            enabled = enabled if change.disabled is None else not change.disabled
            for name, expression in change.tags:
                if expression is None:
                    tags.pop(name, None)
                else:
                    tags[name] = f"%CEL({expression})%"
    del stat.tags[:]
    stat.tags.extend(Config.Tag(name=name, value_format=text) for name, text in tags.items())
    return enabled


def _labels_of_requests(own: Side, direction: Direction, called: Called | None) -> _Labels:
    return {
        **_labels(own, direction, called, http=True),
        "request_protocol": f"%CEL({_IS_GRPC} ? 'grpc' : 'http')%",
        "response_code": "%RESPONSE_CODE%",
        "grpc_response_status": "%GRPC_STATUS_NUMBER%",
        "response_flags": "%RESPONSE_FLAGS%",
    }


def _labels(
    own: Side, direction: Direction, called: Called | None, *, http: bool = False
) -> _Labels:
    if direction == "inbound":
        return {"reporter": "destination", **_of_server(own, called, http=http)}
    return {"reporter": "source", **_of_client(own)}


def _of_server(own: Side, called: Called | None, *, http: bool) -> _Labels:
    """Return labels of what comes in. A port without a service is called by its cluster."""
    host = called.host if called else own.canonical_service
    name = called.name if called else names.INBOUND_PASSTHROUGH_CLUSTER
    return {
        **_peer(peer_metadata.FIELDS if http else (peer_metadata.NAMESPACE,)),
        "source_principal": _proved("uri_san_peer_certificate"),
        **_own_side("destination", own),
        "destination_principal": _proved("uri_san_local_certificate"),
        "destination_service": _literal(host),
        "destination_service_name": _literal(name),
        "destination_service_namespace": _literal(own.namespace),
        "connection_security_policy": "%CEL(connection.mtls ? 'mutual_tls' : 'none')%",
    }


def _of_client(own: Side) -> _Labels:
    """Return labels of what goes out; what an endpoint and a cluster say of themselves counts."""
    black_hole = f"xds.route_name == 'block_all' ? '{names.BLACK_HOLE_CLUSTER}' : '{UNKNOWN}'"
    return {
        **_own_side("source", own),
        "source_principal": _first(_operator("UPSTREAM_LOCAL_URI_SAN")),
        **_side(
            "destination",
            workload=_of_endpoint("name"),
            workload_namespace=_first(_cel(f"{_SERVICE}.namespace")),
            app=_of_endpoint("app"),
            version=_of_endpoint("version"),
            canonical_service=_of_endpoint("canonical"),
            canonical_revision=_of_endpoint("revision", _NO_REVISION),
            cluster=_first(_cel(f"{peer_metadata.IN_MESH} ? {_quoted(own.cluster)} : '{UNKNOWN}'")),
        ),
        "destination_principal": _first(_operator("UPSTREAM_PEER_URI_SAN")),
        "destination_service": _first(_cel(f"{_SERVICE}.host"), _operator("REQ", ":authority")),
        "destination_service_name": _first(
            _cel(f"{_SERVICE}.name"), _operator("UPSTREAM_CLUSTER_RAW"), _cel(black_hole)
        ),
        "destination_service_namespace": _first(_cel(f"{_SERVICE}.namespace")),
        "connection_security_policy": UNKNOWN,
    }


def _peer(fields: Iterable[str]) -> _Labels:
    """Return labels of the caller: those `fields` of it that can be known, if they are proved."""
    defaults = {"canonical_revision": _NO_REVISION}
    known = {
        field: _first(
            _operator("FILTER_STATE", f"{peer_metadata.state(field)}:PLAIN"),
            default=defaults.get(field, UNKNOWN),
        )
        for field in fields
    }
    return _side("source", **{**defaults, **known})


def _own_side(which: str, own: Side) -> _Labels:
    return _side(
        which,
        workload=_literal(own.workload),
        workload_namespace=_literal(own.namespace),
        app=_literal(own.app),
        version=_literal(own.version),
        canonical_service=_literal(own.canonical_service),
        canonical_revision=_literal(own.canonical_revision),
        cluster=_literal(own.cluster),
    )


def _side(which: str, **known: str) -> _Labels:
    """Return the labels that describe one side; unknown where nothing is known."""
    every = (
        "workload",
        "workload_namespace",
        "app",
        "version",
        "canonical_service",
        "canonical_revision",
        "cluster",
    )
    return {f"{which}_{name}": known.get(name, UNKNOWN) for name in every}


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _literal(text: str) -> str:
    return text.replace("%", "%%")


def _proved(certificate_name: str) -> str:
    return f"%CEL(connection.mtls ? connection.{certificate_name} : '{UNKNOWN}')%"


def _of_endpoint(key: str, default: str = UNKNOWN) -> str:
    return _first(_operator("UPSTREAM_METADATA", f"istio:{key}"), default=default)


def _first(*operators: Mapping[str, str], default: str = UNKNOWN) -> str:
    """Return a format of the first operator that has a value, or else of `default`."""
    found = {"operators": [*operators, _cel(f"'{default}'")]}
    return f"%COALESCE({json.dumps(found, separators=(',', ':'))})%"


def _operator(command: str, parameter: str = "") -> Mapping[str, str]:
    return {"command": command, "param": parameter} if parameter else {"command": command}


def _cel(expression: str) -> Mapping[str, str]:
    return _operator("CEL", expression)


def _stat(name: str, labels: _Labels) -> Config.Stat:
    tags = [Config.Tag(name=label, value_format=text) for label, text in labels.items()]
    return Config.Stat(name=name, tags=tags)


def _counter(name: str, labels: _Labels, value: str = "") -> Config.Counter:
    if value:
        return Config.Counter(stat=_stat(name, labels), value_format=value)
    return Config.Counter(stat=_stat(name, labels), value_fixed=UInt64Value(value=1))


def _histogram(name: str, value: str, labels: _Labels) -> Config.Histogram:
    unit = _Unit.Milliseconds if name.endswith("_milliseconds") else _Unit.Bytes
    return Config.Histogram(stat=_stat(name, labels), unit=unit, value_format=value)


def _when(event: AccessLogType.ValueType) -> AccessLogFilter:
    return AccessLogFilter(log_type_filter=LogTypeFilter(types=[event]))


def _logger(config: Config, only: AccessLogFilter | None) -> AccessLog:
    config.MergeFromString(field(_STATS_SCOPE_FIELD, _shared_scope()))
    logger = AccessLog(name=NAME, typed_config=typed.pack(config))
    if only is not None:
        logger.filter.CopyFrom(only)
    return logger


def _shared_scope() -> bytes:
    """Return `SCOPE` as the bytes of an envoy.type.v3.Scope."""
    limit = UInt32Value(value=_MAX_STATS).SerializeToString()
    limits = b"".join(field(kind, limit) for kind in (1, 2, 3))  # counters, gauges, histograms
    return limits + field(5, _PREFIX)
