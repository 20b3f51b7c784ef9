"""Elsewhere: where requests and connections go that are for nobody who is known.

Onward to what was dialled, to a proxy that a Sidecar names, or nowhere.
"""

from libs.proxy.node import Interception
from libs.proxy.scope import OutboundScope
from libs.xds import names
from libs.xds.generate.route_destinations import Destinations


def of_requests(scope: OutboundScope) -> str:
    """Return the cluster for requests that are for no known host.

    What is resolved by name can be reached by proxies that nothing redirects to as well.
    """
    return names.DYNAMIC_DNS_CLUSTER if scope.dynamic_dns else cluster(scope)


def cluster(scope: OutboundScope) -> str:
    """Return the cluster for what is not known, or an empty text if nothing leads on.

    A proxy that nothing redirects to cannot send onward: what was dialled is the proxy itself.
    """
    if not scope.allow_any:
        return ""
    if scope.egress_proxy is not None:
        return str(Destinations(scope).cluster(scope.egress_proxy, 0))
    redirected = scope.interception is not Interception.NONE
    return names.PASSTHROUGH_CLUSTER if redirected else ""
