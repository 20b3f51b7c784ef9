"""What a change can affect: from the tables of the mesh that moved to the types that may differ.

Never too few: a type that is left out here is not made again. Whether a proxy's own resources
differ is decided by its scope; this only spares types that cannot.
"""

from collections.abc import Mapping

from libs.model.mesh import Table
from libs.xds.types import BOOTSTRAP, CLUSTER, ENDPOINT, EXTENSION, LISTENER, NAME_TABLE, ROUTE

_ALL = frozenset({CLUSTER, ENDPOINT, LISTENER, ROUTE})
_SEEN = _ALL | {NAME_TABLE}  # what depends on which services a proxy sees
_WHOLE = _SEEN | {EXTENSION, BOOTSTRAP}

_BY_TABLE: Mapping[Table, frozenset[str]] = {
    # Trust domain, timeouts, retries, logs; the cluster's name stands in every endpoint; the root
    # namespace decides whom patches and extensions are for.
    Table.SETTINGS: _WHOLE,
    # Labels of a namespace decide over injection and visibility, which reach no proxy from here.
    Table.NAMESPACE: frozenset(),
    # A service is a cluster with its endpoints, a virtual host, a listener, and inbound chains; and
    # a name.
    Table.SERVICE: _SEEN,
    # Mostly load assignments. But who they are decides whom a cluster trusts, whether they have
    # sidecars how it calls them, and those of headless services have listeners, hosts and names.
    Table.ENDPOINTS: _SEEN,
    # Its labels decide for its own proxy: policies, matches by source labels, peer policies of its
    # ports; its ports and locality, inbound clusters and the order of endpoints.
    # And which patches and extensions are for it.
    Table.WORKLOAD: _WHOLE,
    # HTTP rules are routes; rules for TCP and TLS are filter chains. And the services that one
    # leads to come into the scopes of those Sidecars that import it.
    Table.ROUTING: _SEEN,
    # Listeners and the routes they ask for; a server that passes TLS on by the name of a cluster
    # brings clusters and endpoints of those names.
    Table.GATEWAY: _ALL,
    # Subsets have clusters and endpoints of their own; hashing needs a key in routes and TCP
    # proxies, and a pool's idle timeout is one of the TCP proxy.
    Table.HOST_POLICY: _ALL,
    # As a server: filter chains. As a client: whether a cluster, or one endpoint, gets mesh TLS.
    Table.PEER_POLICY: frozenset({CLUSTER, ENDPOINT, LISTENER}),
    # Filters in inbound chains, nothing else.
    Table.ACCESS_POLICY: frozenset({LISTENER}),
    # What a proxy sees at all, and what it lets in.
    Table.SIDECAR: _SEEN,
    # Likewise.
    Table.TOKEN_POLICY: frozenset({LISTENER}),
    # Loggers, metrics and tracing stand in the chains of both directions.
    Table.TELEMETRY: frozenset({LISTENER}),
    # Whatever a patch is applied to: never endpoints, which no patch can name.
    Table.PATCHES: frozenset({CLUSTER, LISTENER, ROUTE, EXTENSION, BOOTSTRAP}),
    # Places in filter chains, and what stands there.
    Table.EXTENSION: frozenset({LISTENER, EXTENSION}),
    # Who may register by it; what a machine is told follows from its WorkloadEntry.
    Table.MACHINE_GROUP: frozenset(),
    # Gateways stand for endpoints of other networks; those of names stand in clusters.
    Table.NETWORKS: frozenset({CLUSTER, ENDPOINT}),
}
"""The comment says why a type is in; tests prove that no other one can be altered."""


def types(tables: frozenset[Table]) -> frozenset[str]:
    """Return the type URLs of which resources may differ after rows of `tables` moved."""
    return frozenset[str]().union(*(_BY_TABLE.get(table, _WHOLE) for table in tables))
