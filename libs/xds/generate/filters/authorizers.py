"""Authorizers: servers outside the proxy that decide about requests (action CUSTOM).

An RBAC filter whose rules have no effect of their own notes in dynamic metadata which policy covers
a request; the filter behind it asks the authorizer about those requests, and about no others.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from envoy.config.core.v3.base_pb2 import HeaderValue
from envoy.config.core.v3.config_source_pb2 import ApiVersion
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.config.core.v3.http_uri_pb2 import HttpUri
from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2 as http
from envoy.extensions.filters.network.ext_authz.v3 import ext_authz_pb2 as network
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.string_pb2 import ListStringMatcher, StringMatcher
from envoy.type.v3.http_status_pb2 import HttpStatus

from libs.model.providers import Authorizer
from libs.proxy.scope import OutboundScope
from libs.xds.generate import typed
from libs.xds.generate.filters import matchers
from libs.xds.names import ClusterName

HTTP_NAME = "envoy.filters.http.ext_authz"
NETWORK_NAME = "envoy.filters.network.ext_authz"
HTTP_RULES = "istio.ext_authz_rules"
NETWORK_RULES = "istio.ext_authz_rules"
"""Names of the RBAC filters in front: they stand elsewhere than those that judge."""

SHADOW_PREFIX = "istio_ext_authz_"
POLICY_PREFIX = "istio-ext-authz-"
_EFFECTIVE = f"{SHADOW_PREFIX}shadow_effective_policy_id"
_STAT_PREFIX = "tcp."


class Reachable(NamedTuple):
    """An authorizer with the cluster through which a proxy reaches it."""

    authorizer: Authorizer
    cluster: str


Authorizers = Mapping[str, Reachable]
"""By name of the provider."""


def reachable(scope: OutboundScope) -> Authorizers:
    """Return the mesh's authorizers whose service and port a proxy sees."""
    wanted = [one for one in scope.settings.providers if isinstance(one, Authorizer)]
    hosts = {one.host for one in wanted}
    ports = {
        (scoped.service.host, port.number)
        for scoped in (scope.services if wanted else ())
        if scoped.service.host in hosts
        for port in scoped.service.ports
    }
    return {
        one.name: Reachable(one, str(ClusterName(one.port, "", one.host)))
        for one in wanted
        if (one.host, one.port) in ports
    }


def policy_prefix(provider: str) -> str:
    """Return how the names of policies begin whose requests `provider` decides about."""
    return f"{POLICY_PREFIX}{provider}-"


def http_filter(to: Reachable) -> hcm.HttpFilter:
    """Return the filter that asks about requests."""
    it = to.authorizer
    config = http.ExtAuthz(
        transport_api_version=ApiVersion.V3,
        failure_mode_allow=it.fail_open,
        status_on_error=HttpStatus(code=it.status_on_error),  # type: ignore[arg-type]
        clear_route_cache=it.clear_route_cache,
        filter_enabled_metadata=_covered("envoy.filters.http.rbac", it.name),
    )
    if it.max_body:
        config.with_request_body.max_request_bytes = it.max_body
        config.with_request_body.allow_partial_message = it.partial_body
        config.with_request_body.pack_as_bytes = it.body_as_bytes
    if it.http:
        config.http_service.CopyFrom(_http_service(to))
        if it.request_headers:
            config.allowed_headers.CopyFrom(_headers(it.request_headers))
    else:
        config.grpc_service.CopyFrom(_grpc_service(to))
    return typed.http_filter(HTTP_NAME, config)


def network_filter(to: Reachable) -> Filter | None:
    """Return the filter that asks about connections; a server of plain HTTP cannot be asked."""
    it = to.authorizer
    if it.http:
        return None
    config = network.ExtAuthz(
        stat_prefix=_STAT_PREFIX,
        grpc_service=_grpc_service(to),
        transport_api_version=ApiVersion.V3,
        failure_mode_allow=it.fail_open,
        filter_enabled_metadata=_covered("envoy.filters.network.rbac", it.name),
    )
    return typed.network_filter(NETWORK_NAME, config)


def _covered(namespace: str, provider: str) -> MetadataMatcher:
    # With what follows the prefix in a name, or one provider would hear of `<its name>-more`, too.
    named = matchers.value(StringMatcher(prefix=f"{policy_prefix(provider)}ns["))
    return matchers.metadata(namespace, [_EFFECTIVE], named)


def _http_service(to: Reachable) -> http.HttpService:
    it = to.authorizer
    uri = HttpUri(
        uri=f"http://{it.host}", cluster=to.cluster, timeout=typed.milliseconds(it.timeout)
    )
    found = http.HttpService(server_uri=uri, path_prefix=it.path_prefix)
    for name, value in sorted(it.additional_headers.items()):
        found.authorization_request.headers_to_add.append(HeaderValue(key=name, value=value))
    answer = found.authorization_response
    for field, patterns in (
        (answer.allowed_upstream_headers, it.upstream_on_allow),
        (answer.allowed_client_headers, it.downstream_on_deny),
        (answer.allowed_client_headers_on_success, it.downstream_on_allow),
    ):
        if patterns:
            field.CopyFrom(_headers(patterns))
    return found


def _grpc_service(to: Reachable) -> GrpcService:
    found = GrpcService(timeout=typed.milliseconds(to.authorizer.timeout))
    found.envoy_grpc.cluster_name = to.cluster
    found.envoy_grpc.authority = to.authorizer.host
    return found


def _headers(patterns: Iterable[str]) -> ListStringMatcher:
    return ListStringMatcher(
        patterns=[matchers.text(pattern, ignore_case=True) for pattern in patterns]
    )
