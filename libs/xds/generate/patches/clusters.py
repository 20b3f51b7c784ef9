"""Clusters, patched: merged, removed, added."""

from collections.abc import Iterable, Iterator

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import TransportSocket

from libs.model.patches import ClusterMatch
from libs.xds import names
from libs.xds.generate import provenance
from libs.xds.generate.patches import resources
from libs.xds.generate.patches.ledger import ANY, OUTBOUND, Entry, Ledger
from libs.xds.generate.patches.merge import merge
from libs.xds.types import CLUSTER, NamedResource

_MERGES = ("MERGE", "MERGE_AND_REPLACE_LIST", "REMOVE")


def apply(ledger: Ledger, made: Iterable[NamedResource]) -> list[NamedResource]:
    """Return the clusters after all patches."""
    found = list(made)
    if ledger.any("CLUSTER"):
        found = [one for cluster in found for one in _patched(ledger, cluster)]
        found += _added(ledger, found)
    return found


def _patched(ledger: Ledger, made: NamedResource) -> list[NamedResource]:
    context = ledger.direction(inbound=_is_inbound(made.name))
    # By name first: reading a cluster costs more than most patches, which are for one of them.
    entries = [
        entry
        for entry in ledger.of("CLUSTER", context, *_MERGES)
        if _may_match(made.name, entry.patch.cluster)
    ]
    if not entries:
        return [made]
    return resources.each(ledger, [made], Cluster, change=lambda it: _change(ledger, it, entries))


def _change(ledger: Ledger, cluster: Cluster, entries: Iterable[Entry]) -> bool:
    name = cluster.name
    for entry in entries:
        if not _matches(cluster, entry.patch.cluster):
            continue
        ledger.hit(entry)
        if entry.patch.operation == "REMOVE":
            return False
        if isinstance(entry.value, Cluster):
            _merge(cluster, entry.value, entry)
    if cluster.name != name:  # others find it by its name
        cluster.name = name
    return True


def _merge(cluster: Cluster, value: Cluster, entry: Entry) -> None:
    replace_lists = entry.patch.operation == "MERGE_AND_REPLACE_LIST"
    if value.HasField("transport_socket") and cluster.transport_socket_matches:
        # A cluster that chooses among sockets must not have another beside them: the one of the
        # same name is meant.
        socket, value = value.transport_socket, _without_socket(value)
        meant = _socket(cluster, socket.name)
        if meant is None:
            entry.fail(f"value.transport_socket: {cluster.name} has none named {socket.name}")
        else:
            merge(meant, socket, replace_lists=replace_lists)
    merge(cluster, value, replace_lists=replace_lists)


def _without_socket(value: Cluster) -> Cluster:
    rest = Cluster()
    rest.CopyFrom(value)
    rest.ClearField("transport_socket")
    return rest


def _socket(cluster: Cluster, name: str) -> TransportSocket | None:
    sockets = (match.transport_socket for match in cluster.transport_socket_matches)
    return next((socket for socket in sockets if socket.name == name), None)


def _added(ledger: Ledger, found: Iterable[NamedResource]) -> list[NamedResource]:
    taken = (one.name for one in found)
    return resources.added(ledger, _additions(ledger), type_url=CLUSTER, taken=taken)


def _additions(ledger: Ledger) -> Iterator[Entry]:
    """Yield what is added, once: a context left open means outbound, or the gateway."""
    for inbound in (False, True):
        for entry in ledger.of("CLUSTER", ledger.direction(inbound=inbound), "ADD"):
            if not inbound or (entry.patch.context not in {ANY, OUTBOUND} and not ledger.gateway):
                yield entry


def _is_inbound(name: str) -> bool:
    return name.startswith("inbound|") or name == names.INBOUND_PASSTHROUGH_CLUSTER


def _may_match(name: str, match: ClusterMatch | None) -> bool:
    if match is None:
        return True
    if match.name:
        return match.name == name
    port, subset, host = _parts(name)
    if match.port and match.port != port:
        return False
    if match.subset and match.subset != subset:
        return False
    return not match.service or not host or match.service == host


def _matches(cluster: Cluster, match: ClusterMatch | None) -> bool:
    """Tell the rest: which services an inbound cluster stands for is in its metadata."""
    if match is None or match.name or not match.service:
        return True
    host = _parts(cluster.name)[2]
    return match.service == host if host else match.service in set(_hosts(cluster))


def _hosts(cluster: Cluster) -> Iterator[str]:
    fields = cluster.metadata.filter_metadata[provenance.NAMESPACE].fields
    if "services" in fields:
        for service in fields["services"].list_value.values:
            yield service.struct_value.fields["host"].string_value


def _parts(name: str) -> tuple[int, str, str]:
    """Return port, subset and host; of an inbound cluster only the port is in its name."""
    known = names.parse_cluster(name)
    if known is not None:
        return known
    head, _, rest = name.partition("|")
    port = rest.partition("|")[0]
    if head != "inbound" or not (port.isascii() and port.isdigit()):
        return 0, "", ""
    return int(port), "", ""
