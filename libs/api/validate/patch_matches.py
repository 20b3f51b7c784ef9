"""Rules about where a patch of an EnvoyFilter applies: what is looked for must fit what it is."""

from libs.api import reasons
from libs.api.networking.envoy_filter import ApplyTo, FilterMatch, ObjectMatch
from libs.api.path import Path
from libs.api.report import Report

CONNECTION_MANAGERS = frozenset(
    {"envoy.filters.network.http_connection_manager", "envoy.http_connection_manager"}
)
OLD_NAMES = {
    "envoy.buffer": "envoy.filters.http.buffer",
    "envoy.cors": "envoy.filters.http.cors",
    "envoy.csrf": "envoy.filters.http.csrf",
    "envoy.ext_authz": "envoy.filters.http.ext_authz",
    "envoy.fault": "envoy.filters.http.fault",
    "envoy.grpc_web": "envoy.filters.http.grpc_web",
    "envoy.gzip": "envoy.filters.http.gzip",
    "envoy.health_check": "envoy.filters.http.health_check",
    "envoy.http_connection_manager": "envoy.filters.network.http_connection_manager",
    "envoy.ip_tagging": "envoy.filters.http.ip_tagging",
    "envoy.listener.http_inspector": "envoy.filters.listener.http_inspector",
    "envoy.listener.original_dst": "envoy.filters.listener.original_dst",
    "envoy.listener.original_src": "envoy.filters.listener.original_src",
    "envoy.listener.proxy_protocol": "envoy.filters.listener.proxy_protocol",
    "envoy.listener.tls_inspector": "envoy.filters.listener.tls_inspector",
    "envoy.lua": "envoy.filters.http.lua",
    "envoy.mongo_proxy": "envoy.filters.network.mongo_proxy",
    "envoy.ratelimit": "envoy.filters.network.ratelimit",
    "envoy.redis_proxy": "envoy.filters.network.redis_proxy",
    "envoy.router": "envoy.filters.http.router",
    "envoy.squash": "envoy.filters.http.squash",
    "envoy.tcp_proxy": "envoy.filters.network.tcp_proxy",
}
"""Names of filters that Envoy no longer knows."""

_BY_LISTENER = frozenset(
    {ApplyTo.LISTENER, ApplyTo.FILTER_CHAIN, ApplyTo.NETWORK_FILTER, ApplyTo.HTTP_FILTER}
)
_BY_ROUTE = frozenset({ApplyTo.ROUTE_CONFIGURATION, ApplyTo.VIRTUAL_HOST, ApplyTo.HTTP_ROUTE})


def check_object(of: ApplyTo, match: ObjectMatch, path: Path, *, report: Report) -> None:
    """Report a match of another kind of object than the one that is patched."""
    matches = {
        "listener": match.listener,
        "routeConfiguration": match.route_configuration,
        "cluster": match.cluster,
        "waypoint": match.waypoint,
    }
    given = [field for field, value in matches.items() if value is not None]
    if len(given) > 1:
        text = f"only one of {' and '.join(given)} may be set"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
        return
    wanted = _wanted(of)
    if wanted and given and given[0] not in {wanted, "waypoint"}:
        text = f"a {of} is found by {wanted}, not by {given[0]}"
        report.error((path, given[0]), reasons.CONFLICTING_FIELDS, text)
        return
    chain = match.listener.filter_chain if match.listener else None
    if of in _BY_LISTENER and chain and chain.filter:
        place = (((path, "listener"), "filterChain"), "filter")
        _check_filter(of, chain.filter, place, report=report)


def _wanted(of: ApplyTo) -> str:
    if of in _BY_LISTENER:
        return "listener"
    if of in _BY_ROUTE:
        return "routeConfiguration"
    return "cluster" if of is ApplyTo.CLUSTER else ""


def _check_filter(of: ApplyTo, match: FilterMatch, path: Path, *, report: Report) -> None:
    if of in {ApplyTo.LISTENER, ApplyTo.FILTER_CHAIN}:
        text = f"a {of} is not found by its filters, so this changes nothing"
        report.warning(path, reasons.NO_EFFECT, text)
    _check_name(match.name, path, report)
    if match.sub_filter is None:
        return
    path = (path, "subFilter")
    if of is not ApplyTo.HTTP_FILTER:
        text = f"is for HTTP_FILTER only, and this is a {of}"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    elif match.name and match.name not in CONNECTION_MANAGERS:
        text = f"only {min(CONNECTION_MANAGERS)} has filters of its own"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    _check_name(match.sub_filter.name, path, report)


def _check_name(name: str, path: Path, report: Report) -> None:
    if not name:
        report.error((path, "name"), reasons.EMPTY_VALUE, "must not be empty")
    elif name in OLD_NAMES:
        text = f"{name} is an old name: write {OLD_NAMES[name]}"
        report.warning((path, "name"), reasons.DEPRECATED, text)
