"""Routes: what happens to requests that a match lets in.

Names, order and defaults are those that Istio's users know from configuration dumps; each route
carries the routing that it came from.
"""

from collections.abc import Sequence

from envoy.config.route.v3.route_components_pb2 import (
    RedirectAction,
    Route,
    RouteAction,
    RouteMatch,
    WeightedCluster,
)
from envoy.type.v3.percent_pb2 import FractionalPercent
from msgspec import Struct

from libs.model.ids import Ref
from libs.model.traffic import (
    ConsistentHash,
    DirectResponse,
    HttpMatch,
    HttpRoute,
    Mirror,
    Redirect,
    Retries,
    Rewrite,
    Routing,
    WeightedDestination,
)
from libs.xds import names
from libs.xds.generate import provenance, route_headers, route_match, route_retries
from libs.xds.generate.filters import cors, fault
from libs.xds.generate.route_destinations import Destinations

DEFAULT_NAME = "default"

_Code = RedirectAction.RedirectResponseCode
_CODES = {
    301: _Code.MOVED_PERMANENTLY,
    302: _Code.FOUND,
    303: _Code.SEE_OTHER,
    307: _Code.TEMPORARY_REDIRECT,
    308: _Code.PERMANENT_REDIRECT,
}


class Ways(Struct, frozen=True):
    """Where routes may lead on one listener."""

    destinations: Destinations
    port: int  # of the listener; 0 for the HTTP proxy
    default_retries: Retries | None
    secure: bool = False  # TLS ends on the listener


def any_at(routing: Routing, port: int) -> bool:
    """Tell whether a routing has routes on the listener of a port."""
    return any(
        not http.matches or any(match.port in {0, port} for match in http.matches)
        for http in routing.http
    )


def of_routing(ways: Ways, routing: Routing) -> list[Route]:
    """Return the routes of `routing` on one listener, up to the first that nothing gets past."""
    found: list[Route] = []
    for http in routing.http:
        for match in http.matches or (None,):
            if match is not None and match.port not in {0, ways.port}:
                continue
            route = _route(ways, routing, http=http, match=match)
            found.append(route)
            if route_match.catches_all(route.match):
                return found
    return found


def of_service(
    cluster: names.ClusterName,
    source: Ref,
    *,
    hashing: ConsistentHash | None,
    retries: Retries | None,
) -> Route:
    """Return the route of a service that no routing is about."""
    route = Route(name=DEFAULT_NAME, match=route_match.everything())
    route.decorator.operation = f"{cluster.host}:{cluster.port}/*"
    route.metadata.CopyFrom(provenance.metadata(source))
    route.route.cluster = str(cluster)
    _set_timeout(route.route, None)
    _set_retries(route.route, retries, hashed=False)
    if hashing is not None:
        route.route.hash_policy.append(_hash_policy(hashing))
    return route


def catch_all(name: str, cluster: str) -> Route:
    """Return the route of requests that are for no known host; without a cluster they get 502."""
    route = Route(name=name, match=route_match.everything())
    if cluster:
        route.route.cluster = cluster
        _set_timeout(route.route, None)
    else:
        route.direct_response.status = 502
    return route


def _route(ways: Ways, routing: Routing, *, http: HttpRoute, match: HttpMatch | None) -> Route:
    route = Route(match=route_match.translate(match))
    route.name = http.name
    if match is not None and match.name:
        route.name = f"{http.name}.{match.name}"
    if match is not None and match.stat_prefix:
        route.stat_prefix = match.stat_prefix
    route.metadata.CopyFrom(provenance.metadata(routing.ref))
    if http.headers is not None:
        route_headers.change(route, http.headers)
    if http.redirect is not None:
        _redirect(route, http.redirect, ways)
    elif http.direct_response is not None:
        _answer(route, http.direct_response)
    else:
        _forward(route, ways, http)
    route.decorator.operation = _operation(route, routing.name, ways.port)
    _configure_filters(route, http)
    return route


def _configure_filters(route: Route, http: HttpRoute) -> None:
    faults = fault.of_route(http.fault) if http.fault is not None else None
    if faults is not None:
        route.typed_per_filter_config[fault.NAME].CopyFrom(faults)
    if http.cors is not None:
        route.typed_per_filter_config[cors.NAME].CopyFrom(cors.of_route(http.cors))


def _operation(route: Route, routing: str, port: int) -> str:
    """Return what traces call the route: the service if there is one, else the routing."""
    match = route.match
    kind = match.WhichOneof("path_specifier")
    path = match.safe_regex.regex if kind == "safe_regex" else match.path or f"{_prefix(match)}*"
    cluster = names.parse_cluster(route.route.cluster)
    if cluster is not None:
        return f"{cluster.host}:{cluster.port}{path}"
    return f"{routing}:{port}{path}"


def _prefix(match: RouteMatch) -> str:
    return match.prefix or match.path_separated_prefix


def _redirect(route: Route, wanted: Redirect, ways: Ways) -> None:
    action = route.redirect
    action.host_redirect = wanted.authority
    if wanted.prefix:
        action.prefix_rewrite = wanted.prefix
    elif wanted.uri:
        action.path_redirect = wanted.uri
    if wanted.scheme:
        action.scheme_redirect = wanted.scheme
    target = ways.port if wanted.derive_port == "FROM_REQUEST_PORT" else wanted.port
    scheme = wanted.scheme or ("https" if ways.secure else "http")
    usual = {"http": 80, "https": 443}.get(scheme)
    action.port_redirect = 0 if target == usual else target
    action.response_code = _CODES.get(wanted.code or 301, _Code.MOVED_PERMANENTLY)


def _answer(route: Route, wanted: DirectResponse) -> None:
    route.direct_response.status = wanted.status
    if not wanted.body:
        return
    try:
        route.direct_response.body.inline_string = wanted.body.decode()
    except UnicodeDecodeError:
        route.direct_response.body.inline_bytes = wanted.body


def _forward(route: Route, ways: Ways, http: HttpRoute) -> None:
    action = route.route
    _set_timeout(action, http.timeout)
    host = route_headers.authority(http.headers)
    if http.rewrite is not None:
        _rewrite(action, http.rewrite)
        host = http.rewrite.authority or host
    if host:
        action.host_rewrite_literal = host
    for mirror in http.mirrors:
        _mirror(action, mirror, ways)
    hashed = _lead(route, http.destinations, ways)
    retries = ways.default_retries if http.retries is None else http.retries
    _set_retries(action, retries, hashed=hashed)


def _lead(route: Route, destinations: Sequence[WeightedDestination], ways: Ways) -> bool:
    """Set where requests go; tell whether they all go to one destination by a hash."""
    if len(destinations) == 1:
        return _lead_to_one(route, destinations[0], ways)
    weighted = [one for one in destinations if one.weight]
    if not weighted:  # Envoy refuses a choice among nothing
        route.route.cluster = names.BLACK_HOLE_CLUSTER
        return False
    for one in weighted:
        route.route.weighted_clusters.clusters.append(_share(one, ways))
        hashing = ways.destinations.consistent_hash(one.destination, ways.port)
        if hashing is not None:
            route.route.hash_policy.append(_hash_policy(hashing))
    return False


def _lead_to_one(route: Route, one: WeightedDestination, ways: Ways) -> bool:
    action = route.route
    action.cluster = str(ways.destinations.cluster(one.destination, ways.port))
    if one.headers is not None:
        route_headers.change(route, one.headers)
        host = route_headers.authority(one.headers)
        if host and not action.host_rewrite_literal:
            action.host_rewrite_literal = host
    hashing = ways.destinations.consistent_hash(one.destination, ways.port)
    if hashing is not None:
        action.hash_policy.append(_hash_policy(hashing))
    return hashing is not None


def _share(one: WeightedDestination, ways: Ways) -> WeightedCluster.ClusterWeight:
    found = WeightedCluster.ClusterWeight(
        name=str(ways.destinations.cluster(one.destination, ways.port))
    )
    found.weight.value = one.weight
    if one.headers is not None:
        route_headers.change(found, one.headers)
        host = route_headers.authority(one.headers)
        if host:
            found.host_rewrite_literal = host
    return found


def _rewrite(action: RouteAction, wanted: Rewrite) -> None:
    if wanted.uri_regex is not None:
        action.regex_rewrite.pattern.regex = wanted.uri_regex.match
        action.regex_rewrite.substitution = wanted.uri_regex.rewrite
    elif wanted.uri:
        action.prefix_rewrite = wanted.uri


def _mirror(action: RouteAction, mirror: Mirror, ways: Ways) -> None:
    if mirror.percentage <= 0:
        return
    policy = action.request_mirror_policies.add(
        cluster=str(ways.destinations.cluster(mirror.destination, ways.port)),
        disable_shadow_host_suffix_append=True,  # the copy is for the same host
    )
    policy.runtime_fraction.default_value.CopyFrom(_mirrored(mirror.percentage))
    policy.trace_sampled.value = False


def _mirrored(percentage: float) -> FractionalPercent:
    if percentage == 100:
        hundredth = FractionalPercent.DenominatorType.HUNDRED
        return FractionalPercent(numerator=100, denominator=hundredth)
    return fault.share(percentage)


def _set_timeout(action: RouteAction, milliseconds: int | None) -> None:
    action.timeout.FromMilliseconds(milliseconds or 0)
    action.max_grpc_timeout.CopyFrom(action.timeout)


def _set_retries(action: RouteAction, wanted: Retries | None, *, hashed: bool) -> None:
    policy = route_retries.policy(wanted, hashed=hashed)
    if policy is not None:
        action.retry_policy.CopyFrom(policy)


def _hash_policy(wanted: ConsistentHash) -> RouteAction.HashPolicy:
    found = RouteAction.HashPolicy()
    if wanted.header:
        found.header.header_name = wanted.header
    elif wanted.cookie:
        found.cookie.name = wanted.cookie
        found.cookie.path = wanted.cookie_path
        if wanted.cookie_ttl is not None:
            found.cookie.ttl.FromMilliseconds(wanted.cookie_ttl)
        for name, value in sorted(wanted.cookie_attributes.items()):
            found.cookie.attributes.add(name=name, value=value)
    elif wanted.query_parameter:
        found.query_parameter.name = wanted.query_parameter
    else:
        found.connection_properties.source_ip = True
    return found
