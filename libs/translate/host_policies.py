"""Host policies: one row for each DestinationRule.

Which of several rules for a host a client goes by, and how mesh, host, subset and port are laid
over each other, is decided in `libs.proxy`.
"""

from libs.api.networking import destination_rule as api
from libs.model.mesh import Key, Table
from libs.model.traffic import HostPolicy, Subset
from libs.translate.names import Names
from libs.translate.state import Derived
from libs.translate.traffic_policy import policy
from libs.translate.view import View


def derive(view: View, resource: api.DestinationRule) -> Derived:
    """Return the row of a DestinationRule."""
    metadata, spec = resource.metadata, resource.spec
    selector = spec.workload_selector
    row = HostPolicy(
        ref=resource.ref,
        namespace=metadata.namespace,
        name=metadata.name,
        host=Names(metadata.namespace, view.settings).host(spec.host),
        created=metadata.creation_timestamp or 0,
        export_to=spec.export_to,
        selector=selector.match_labels if selector else None,
        policy=policy(spec.traffic_policy),
        subsets=tuple(Subset(it.name, it.labels, policy(it.traffic_policy)) for it in spec.subsets),
    )
    return Derived(rows=((Key(Table.HOST_POLICY, resource.ref), row),))
