"""Machines outside the cluster: who is connected, and by which groups machines may register.

A machine becomes a WorkloadEntry, and by that a row of `libs.model.workload`, elsewhere; here it is
only somebody who has proved an identity and says where it is.
"""

from typing import NewType

from msgspec import Struct

from libs.model.ids import Ref

MachineGroupKey = NewType("MachineGroupKey", str)
"""Names a group: `<namespace>/<name>` of its WorkloadGroup."""


class MachineGroup(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A WorkloadGroup: machines with its account may register themselves by it."""

    key: MachineGroupKey
    ref: Ref
    service_account: str = "default"


class Machine(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A machine that is connected. Namespace and account are proved, the rest it says itself."""

    namespace: str
    service_account: str
    group: str
    entry: str  # name of the WorkloadEntry that stands for it
    address: str
    network: str = ""
    locality: str = ""  # `<region>/<zone>/<subzone>`
    probes: bool = False  # its agent tells whether its workload is well


def machine_group_key(namespace: str, name: str) -> MachineGroupKey:
    """Return the key under which a group stands in the mesh."""
    return MachineGroupKey(f"{namespace}/{name}")
