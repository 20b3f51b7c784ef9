"""Bootstrap: the configuration that Envoy starts with, as JSON data.

It holds what must work before the control plane is heard of: who we are, where xDS and secrets come
from, the admin port, the two static listeners for scrapers and probes. Everything else comes by
xDS. Other rooms find its clusters by name: `xds-grpc`, `sds-grpc`, `sds-external`, `tally-grpc`,
`prometheus_stats`, `agent`, and those of `remote_services`. What EnvoyFilters lay over it is
`patches`' business.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from services.agent import remote_services
from services.agent.proxy_config import RemoteService, StatsMatcher
from services.agent.scrape import PROXY_PAGE

XDS_CLUSTER = "xds-grpc"
SDS_CLUSTER = "sds-grpc"
EXTERNAL_SDS_CLUSTER = "sds-external"
TALLY_CLUSTER = "tally-grpc"
PROMETHEUS_CLUSTER = "prometheus_stats"
AGENT_CLUSTER = "agent"

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TYPE = "type.googleapis.com/"
_MAX_TALLIES = 64  # of 64 KiB each
_RUNTIME: Mapping[str, Any] = {"re2.max_program_size.error_level": 32768}
_COMPRESSION: Mapping[str, Any] = {
    "name": "envoy.filters.http.compressor",
    "typed_config": {
        "@type": f"{_TYPE}envoy.extensions.filters.http.compressor.v3.Compressor",
        "compressor_library": {
            "name": "gzip",
            "typed_config": {
                "@type": f"{_TYPE}envoy.extensions.compression.gzip.compressor.v3.Gzip"
            },
        },
        "response_direction_config": {"remove_accept_encoding_header": True},
    },
}
_ADDRESS = r"(?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*)"

# Kept whatever the user asks for: readiness, draining, the standard metrics and access decisions.
_KEPT_PREFIXES = (
    "reporter=",
    "component",
    "istio",
    "cluster_manager",
    "listener_manager",
    "server",
    f"cluster.{XDS_CLUSTER}",
    f"cluster.{TALLY_CLUSTER}.upstream_rq_pending_overflow",  # what was not told
    "wasm",
)
_KEPT_SUFFIXES = (
    "rbac.allowed",
    "rbac.denied",
    "shadow_allowed",
    "shadow_denied",
    "downstream_cx_active",
)


class Bootstrap(Struct, frozen=True, kw_only=True):
    """What the bootstrap depends on. Paths and addresses are written as they are given."""

    node: dict[str, Any]
    xds_socket: str
    sds_socket: str
    tally_socket: str
    external_sds_socket: str = ""
    """Of somebody else's server of users' certificates, if there is one."""
    admin_address: str = "127.0.0.1"
    admin_port: int = 15000
    listen_address: str = "0.0.0.0"  # noqa: S104  # probes and scrapers come from outside
    ready_port: int = 15021
    prometheus_port: int = 15090
    agent_address: str = "127.0.0.1"
    agent_port: int = 15020
    cluster_domain: str = "cluster.local"
    stats: StatsMatcher = StatsMatcher()
    stat_tags: tuple[str, ...] = ()
    compressed_stats: bool = True
    statsd: tuple[str, int] | None = None
    """Address and port of a statsd server, over UDP."""
    access_log_service: RemoteService = RemoteService()
    metrics_service: RemoteService = RemoteService()
    runtime: Mapping[str, str] = {}
    """Laid over Envoy's runtime settings; an empty value takes one of ours away."""
    max_connections: int = 50_000


def render(given: Bootstrap) -> dict[str, Any]:
    """Return the bootstrap, in the JSON form of envoy.config.bootstrap.v3.Bootstrap."""
    remote = remote_services.found(given.access_log_service, given.metrics_service)
    return {
        "node": given.node,
        "admin": {
            "address": _socket(given.admin_address, given.admin_port),
            "ignore_global_conn_limit": True,
            "profile_path": "/dev/null",
        },
        "stats_config": _stats(given),
        "stats_sinks": [*_statsd(given.statsd), *remote_services.sinks(given.metrics_service)],
        "deferred_stat_options": {"enable_deferred_creation_stats": True},
        "layered_runtime": {
            "layers": [
                {"name": "static", "static_layer": _runtime(given.runtime)},
                {"name": "admin", "admin_layer": {}},
            ]
        },
        "overload_manager": _overload(given.max_connections),
        "dynamic_resources": _dynamic(),
        "static_resources": {
            "clusters": [
                _pipe(XDS_CLUSTER, given.xds_socket),
                _pipe(SDS_CLUSTER, given.sds_socket),
                *_external_sds(given.external_sds_socket),
                _tally(given.tally_socket),
                _tcp(PROMETHEUS_CLUSTER, given.admin_address, given.admin_port),
                _tcp(AGENT_CLUSTER, given.agent_address, given.agent_port),
                *remote,
            ],
            "listeners": [
                _listener(
                    "stats",
                    _socket(given.listen_address, given.prometheus_port),
                    {"/stats/prometheus": AGENT_CLUSTER},
                    rewrite=PROXY_PAGE,
                    filters=[_COMPRESSION] if given.compressed_stats else (),
                ),
                _listener(
                    "ready",
                    _socket(given.listen_address, given.ready_port),
                    {"/healthz/ready": AGENT_CLUSTER},
                ),
            ],
        },
    }


def _dynamic() -> dict[str, Any]:
    # Without a timeout Envoy waits for its first configuration instead of serving with none.
    source = {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}
    return {
        "cds_config": source,
        "lds_config": source,
        "ads_config": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": True,
            "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER}}],
        },
    }


def _stats(given: Bootstrap) -> dict[str, Any]:
    domain = re.escape(f".svc.{given.cluster_domain}")
    stats = given.stats
    patterns: list[dict[str, Any]] = [
        {"prefix": text} for text in (*_KEPT_PREFIXES, *stats.inclusion_prefixes)
    ]
    patterns += [{"suffix": text} for text in (*_KEPT_SUFFIXES, *stats.inclusion_suffixes)]
    patterns += [{"safe_regex": {"regex": text}} for text in stats.inclusion_regexps]
    tags = {
        "cluster_name": rf"^cluster\.((.+?(\..+?{domain})?)\.)",
        "tcp_prefix": r"^tcp\.((.*?)\.)\w+?$",
        "response_code": r"_rq(_(\d{3}))$",
        "response_code_class": r"_rq(_(\dxx))$",
        "http_conn_manager_prefix": rf"^http\.(({_ADDRESS})\.)",
        "listener_address": rf"^listener\.(({_ADDRESS})\.)",
        # Of access decisions, and of those that a dry run would have made: Istio's names.
        "authz_enforce_result": r"rbac(\.(allowed|denied))",
        "authz_dry_run_action": r"(\.istio_dry_run_(allow|deny)_)",
        "authz_dry_run_result": r"(\.shadow_(allowed|denied))",
    }
    # The form in which extensions of users write tags into names: `<tag>=.=<value>;.;`.
    tags |= {tag: rf"({re.escape(tag)}=\.=(.*?);\.;)" for tag in given.stat_tags}
    return {
        "use_all_default_tags": False,
        "stats_tags": [{"tag_name": name, "regex": regex} for name, regex in tags.items()],
        "stats_matcher": {"inclusion_list": {"patterns": patterns}},
    }


def _statsd(address: tuple[str, int] | None) -> list[dict[str, Any]]:
    if address is None:
        return []
    config = {"@type": f"{_TYPE}envoy.config.metrics.v3.StatsdSink", "address": _socket(*address)}
    return [{"name": "envoy.stat_sinks.statsd", "typed_config": config}]


def _runtime(asked: Mapping[str, str]) -> dict[str, Any]:
    found = {**_RUNTIME, **{name: _runtime_value(text) for name, text in asked.items()}}
    return {name: value for name, value in found.items() if value != ""}


def _runtime_value(text: str) -> Any:  # noqa: ANN401  # JSON
    """Return what a text says: Envoy takes flags and numbers by their type, not by their text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    number = isinstance(value, int | float) and math.isfinite(value)
    return value if number or isinstance(value, dict) else text


def _overload(max_connections: int) -> dict[str, Any]:
    name = "envoy.resource_monitors.global_downstream_max_connections"
    kind = (
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    )
    config = {"@type": _TYPE + kind, "max_active_downstream_connections": max_connections}
    return {"resource_monitors": [{"name": name, "typed_config": config}]}


def _external_sds(path: str) -> list[dict[str, Any]]:
    return [_pipe(EXTERNAL_SDS_CLUSTER, path)] if path else []


def _pipe(name: str, path: str) -> dict[str, Any]:
    cluster = _cluster(name, {"pipe": {"path": path}})
    cluster["type"] = "STATIC"
    cluster["typed_extension_protocol_options"] = {
        _HTTP_OPTIONS: {
            "@type": _TYPE + _HTTP_OPTIONS,
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
    return cluster


def _tally(path: str) -> dict[str, Any]:
    """Return the cluster of the agent's counting; if it hangs, what waits for it is bounded."""
    limits = {"max_requests": _MAX_TALLIES, "max_pending_requests": _MAX_TALLIES}
    return {**_pipe(TALLY_CLUSTER, path), "circuit_breakers": {"thresholds": [limits]}}


def _tcp(name: str, address: str, port: int) -> dict[str, Any]:
    return {**_cluster(name, _socket(address, port)), "type": "STATIC"}


def _cluster(name: str, address: dict[str, Any]) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": address}}
    return {
        "name": name,
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _listener(
    prefix: str,
    address: dict[str, Any],
    paths: dict[str, str],
    *,
    filters: Iterable[Mapping[str, Any]] = (),
    rewrite: str = "",
) -> dict[str, Any]:
    further = {"prefix_rewrite": rewrite} if rewrite else {}
    routes = [
        {"match": {"path": path}, "route": {"cluster": cluster, **further}}
        for path, cluster in paths.items()
    ]
    manager = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = {"@type": _TYPE + "envoy.extensions.filters.http.router.v3.Router"}
    config = {
        "@type": _TYPE + manager,
        "stat_prefix": prefix,
        "http_filters": [*filters, {"name": "envoy.filters.http.router", "typed_config": router}],
        "route_config": {
            "virtual_hosts": [{"name": "backend", "domains": ["*"], "routes": routes}]
        },
    }
    name = "envoy.filters.network.http_connection_manager"
    return {
        "name": prefix,
        "address": address,
        "ignore_global_conn_limit": True,
        "filter_chains": [{"filters": [{"name": name, "typed_config": config}]}],
    }


def _socket(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}
