"""Security: every filter that decides about a request before the workload sees it.

One entry for sidecars and gateways, so that none of them can forget a part.
"""

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)

from libs.proxy.node import ProxyType
from libs.proxy.scope import ProxyScope
from libs.xds.generate.filters import authorizers, jwt, rbac


def http_filters(scope: ProxyScope) -> list[hcm.HttpFilter]:
    """Return the filters that judge requests to the workload of `scope`, in order."""
    own = scope.inbound
    asked = authorizers.reachable(scope.outbound)
    judging = rbac.http_filters(own.policies, own.settings, asked)
    at_edge = own.type is ProxyType.ROUTER  # where routings may match by claims
    return [*jwt.http_filters(own.tokens, routes_by_claims=at_edge), *judging]


def network_filters(scope: ProxyScope) -> list[Filter]:
    """Return the filters that judge connections to the workload of `scope`, in order."""
    own = scope.inbound
    return rbac.network_filters(own.policies, own.settings, authorizers.reachable(scope.outbound))
