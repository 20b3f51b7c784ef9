"""The own cluster: the workload that a proxy stands beside, as Envoy needs it to balance by zones.

Envoy keeps requests in its own zone as far as that zone's share of the callers is not larger than
its share of the servers. So it has to know where its peers are: the endpoints of the oldest service
that has the workload, those in its region and of the same deployment and revision of it. Only a
sidecar that asks for it (`ISTIO_META_ENABLE_SELF_DISCOVERY=true`) gets them: they make proxies of
one namespace differ. Whether anything is balanced by zones is the host policies' business.
"""

from collections.abc import Iterable, Iterator

from libs.model.endpoint import Endpoint, EndpointSet, Health
from libs.model.ids import Ref, ServiceKey
from libs.model.mesh import Mesh
from libs.model.service import Service
from libs.model.workload import Workload
from libs.proxy.memo import Memo
from libs.proxy.node import Proxy, ProxyType
from libs.proxy.scope import EndpointScope, EndpointScopes, OwnCluster

NAME = "local_cluster"
"""Of the cluster in the bootstrap, and of its endpoints."""
ASKED = "ENABLE_SELF_DISCOVERY"
_REVISION = "pod-template-hash"
_NO_ENDPOINTS = EndpointSet(key=ServiceKey(""))


def own_cluster(proxy: Proxy, workload: Workload, services: Iterable[Service]) -> OwnCluster | None:
    """Return the cluster of a proxy whose workload is in `services`, oldest first.

    None if it does not ask for it.
    """
    if proxy.type is not ProxyType.SIDECAR or proxy.metadata.get(ASKED) != "true":
        return None
    service = next(iter(services), None)
    return OwnCluster(
        service=service.key if service else ServiceKey(""),
        port=service.ports[0].name if service and service.ports else "",
        locality=workload.locality,
        workload_name=workload.workload_name,
        revision=workload.labels.get(_REVISION, ""),
    )


class OwnClusters:
    """Adds the endpoints of own clusters to those of the clusters that are called."""

    def __init__(self) -> None:
        self._scopes: Memo[EndpointScope] = Memo()
        self._joined: Memo[EndpointScopes] = Memo()

    def turn(self) -> None:
        """Forget what the last mesh did not need."""
        self._scopes.turn()
        self._joined.turn()

    def joined(self, called: EndpointScopes, own: OwnCluster | None, mesh: Mesh) -> EndpointScopes:
        """Return all endpoint scopes of a proxy; the same object while nothing has moved."""
        if own is None:
            return called
        row = mesh.endpoints.get(own.service, _NO_ENDPOINTS)
        cluster_id = mesh.settings.cluster_id
        scope = self._scopes.get((row, repr(own), cluster_id), lambda: _scope(own, row, cluster_id))
        return self._joined.get((called, scope), lambda: EndpointScopes({**called, NAME: scope}))


def _scope(own: OwnCluster, row: EndpointSet, cluster_id: str) -> EndpointScope:
    return EndpointScope(
        cluster=NAME,
        service=own.service,
        endpoints=tuple(_peers(own, row.endpoints)),
        refs=tuple(ref for ref in row.refs if ref != Ref("")),
        cluster_id=cluster_id,
    )


def _peers(own: OwnCluster, endpoints: Iterable[Endpoint]) -> Iterator[Endpoint]:
    for one in endpoints:
        if not one.address or one.port_name != own.port or one.health is Health.DRAINING:
            continue
        if one.locality.region != own.locality.region or one.workload_name != own.workload_name:
            continue
        if one.labels.get(_REVISION, "") == own.revision:
            yield one
