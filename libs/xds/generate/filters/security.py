"""Security: every filter that decides about a request before the workload sees it.

One entry for sidecars and gateways, so that none of them can forget a part.
"""

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)

from libs.proxy.scope import InboundScope
from libs.xds.generate.filters import jwt, rbac


def http_filters(scope: InboundScope) -> list[hcm.HttpFilter]:
    """Return the filters that judge requests to the workload of `scope`, in order."""
    return [*jwt.http_filters(scope.tokens), *rbac.http_filters(scope.policies, scope.settings)]


def network_filters(scope: InboundScope) -> list[Filter]:
    """Return the filters that judge connections to the workload of `scope`, in order."""
    return rbac.network_filters(scope.policies, scope.settings)
