"""Client status: how far a proxy is with each type, as Envoy's status discovery describes clients.

`istioctl proxy-status` reads it, and compares what a proxy has with the dump of what it should.
"""

from collections.abc import Iterable, Mapping

from envoy.admin.v3 import config_dump_shared_pb2 as dumps
from envoy.service.status.v3 import csds_pb2
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from libs.xds.stream.watch import Watch
from libs.xds.types import CLUSTER, LISTENER, ROUTE, NamedResource, ResourceSet
from services.config_push.connection import Connection

_STATUSES = {
    "NOT SENT": csds_pb2.NOT_SENT,
    "STALE": csds_pb2.STALE,
    "SYNCED": csds_pb2.SYNCED,
    "ERROR": csds_pb2.ERROR,
}
_SHOWN = ("CLUSTER_ID", "ISTIO_VERSION")


def state(watch: Watch) -> str:
    """Return how far a proxy is with a type, in the words of Istio's page `syncz`."""
    ledger = watch.ledger
    if ledger.error:
        return "ERROR"
    if not ledger.sent:
        return "NOT SENT"
    return "STALE" if ledger.waiting else "SYNCED"


def client_config(connection: Connection) -> csds_pb2.ClientConfig:
    """Return the status of one proxy; its node has what tells proxies apart, and no more."""
    found = csds_pb2.ClientConfig()
    found.node.id = connection.proxy_id
    found.node.metadata.update({"NAMESPACE": connection.peer.identity.namespace})
    for name in _SHOWN:
        if isinstance(said := connection.peer.metadata.get(name), str):
            found.node.metadata.update({name: said})
    for type_url, watch in sorted(connection.session.watches.items()):
        status = _STATUSES[state(watch)]
        one = found.generic_xds_configs.add(type_url=type_url, config_status=status)
        if watch.ledger.error:
            one.error_state.details = watch.ledger.error
    return found


def dump(sets: Mapping[str, ResourceSet]) -> list[Any]:
    """Return what a proxy should have of clusters, listeners and routes, as Envoy dumps it."""
    clusters = dumps.ClustersConfigDump()
    for item in _items(sets, CLUSTER):
        clusters.dynamic_active_clusters.add(version_info=item.version, cluster=_any(item))
    listeners = dumps.ListenersConfigDump()
    for item in _items(sets, LISTENER):
        one = listeners.dynamic_listeners.add(name=item.name)
        one.active_state.version_info = item.version
        one.active_state.listener.CopyFrom(_any(item))
    routes = dumps.RoutesConfigDump()
    for item in _items(sets, ROUTE):
        routes.dynamic_route_configs.add(version_info=item.version, route_config=_any(item))
    return [packed(clusters), packed(listeners), packed(routes)]


def packed(message: Message) -> Any:
    """Return a message with its type."""
    found = Any()
    found.Pack(message)
    return found


def _items(sets: Mapping[str, ResourceSet], type_url: str) -> Iterable[NamedResource]:
    found = sets.get(type_url)
    return found.resources.values() if found else ()


def _any(item: NamedResource) -> Any:
    return Any(type_url=item.type_url, value=item.body)
