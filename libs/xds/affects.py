"""What a change can affect: from the tables of the mesh that moved to the types that may differ.

Never too few: a type that is left out here is not made again. Whether a proxy's own resources
differ is decided by its scope; this only spares types that cannot.
"""

from collections.abc import Mapping

from libs.model.mesh import Table
from libs.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

_ALL = frozenset({CLUSTER, ENDPOINT, LISTENER, ROUTE})

_BY_TABLE: Mapping[Table, frozenset[str]] = {
    Table.SETTINGS: _ALL,
    Table.NAMESPACE: frozenset(),
    Table.SERVICE: _ALL,
    # Who they are decides whom clients trust; those of headless services are dialled themselves.
    Table.ENDPOINTS: _ALL,
    Table.WORKLOAD: _ALL,
    Table.ROUTING: frozenset({LISTENER, ROUTE}),
    Table.HOST_POLICY: _ALL,
    Table.PEER_POLICY: frozenset({CLUSTER, ENDPOINT, LISTENER}),
    Table.ACCESS_POLICY: frozenset({LISTENER}),
}


def types(tables: frozenset[Table]) -> frozenset[str]:
    """Return the type URLs of which resources may differ after rows of `tables` moved."""
    return frozenset[str]().union(*(_BY_TABLE.get(table, _ALL) for table in tables))
