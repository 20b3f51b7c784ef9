"""Machines: proxies outside the cluster that ask for a WorkloadEntry of their own.

A node names its group by `AUTO_REGISTER_GROUP`. It is one of the machines of that group if the
group is of the namespace that its credential proves and has the account that its credential proves.
Which entry it gets follows from its group, its address and its network, as in Istio.
"""

import re
from collections.abc import Mapping

from libs.model.ids import SpiffeId
from libs.model.machine import machine_group_key
from libs.model.mesh import Mesh
from libs.proxy.errors import NodeError

GROUP = "AUTO_REGISTER_GROUP"
"""Key of a node's metadata: the WorkloadGroup by which it wants to be registered."""
MAX_NAME = 253
_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


def group_of(metadata: Mapping[str, object], identity: SpiffeId, mesh: Mesh) -> str:
    """Return the group by which a node may register; empty if it does not ask for one.

    Raises:
        NodeError: there is no such group for its identity.

    """
    name = metadata.get(GROUP)
    if not isinstance(name, str) or not name:
        return ""
    group = mesh.machine_groups.get(machine_group_key(identity.namespace, name))
    if group is None:
        message = f"there is no WorkloadGroup {name[:253]!r} in namespace {identity.namespace!r}"
        raise NodeError(message)
    if group.service_account != identity.service_account:
        message = (
            f"WorkloadGroup {name!r} is for service account {group.service_account!r}, "
            f"but the node's credential proves {identity.service_account!r}"
        )
        raise NodeError(message)
    return name


def entry_name(group: str, address: str, network: str) -> str:
    """Return the name of a machine's WorkloadEntry: its end, if it would be too long.

    Raises:
        NodeError: nothing can have that name.

    """
    parts = [group, address.replace(":", "-"), *([network] if network else [])]
    name = "-".join(parts)[-MAX_NAME:].lstrip("-.")
    if name.endswith("-"):
        name += "0"  # an IPv6 address may end with a colon
    if not _NAME.fullmatch(name):
        message = f"no WorkloadEntry can be called {name!r}"
        raise NodeError(message)
    return name
