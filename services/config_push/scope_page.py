"""Page of a scope: what one proxy may see of the mesh, which Istio's page sidecarz shows.

It is made anew for each reader, by a scoper of its own: the one that pushes belongs to its worker.
"""

import msgspec

from libs.model.mesh import Mesh
from libs.proxy.node import Proxy
from libs.proxy.scoper import Scoper


def render(mesh: Mesh, proxy: Proxy) -> bytes:
    """Return which services, routings and egress listeners a proxy has, as JSON."""
    found = Scoper().scope(mesh, proxy)
    outbound = found.outbound
    return msgspec.json.encode(
        {
            "name": outbound.sidecar,
            "namespace": outbound.namespace,
            "services": [one.service.host for one in outbound.services],
            "virtualServices": [one.ref for one in outbound.routings],
            "destinationRules": sorted(
                {ref for one in outbound.services for ref in one.policy_refs}
            ),
            "egressListeners": outbound.egress,
            "outboundTrafficPolicy": {
                "mode": "ALLOW_ANY" if outbound.allow_any else "REGISTRY_ONLY"
            },
        }
    )
