"""WorkloadEntry: one workload that is no pod, such as a virtual machine."""

from typing import Annotated

from msgspec import Meta

from libs.api.resource import IstioResource, Message, Part
from libs.api.scalars import UInt32


class WorkloadEntrySpec(Message, frozen=True):
    """Fields of the kind; also what the endpoints of a ServiceEntry are made of.

    `address` is an IP address, a host name, or `unix://` and a path; without it, the gateway of
    `network` is the way. `ports` are the workload's own, by the name of the service's port.
    """

    address: Annotated[str, Meta(max_length=256)] = ""
    ports: Annotated[dict[str, UInt32], Meta(max_length=128)] = {}
    labels: Annotated[dict[str, str], Meta(max_length=256)] = {}
    network: Annotated[str, Meta(max_length=2048)] = ""
    locality: Annotated[str, Meta(max_length=2048)] = ""
    weight: UInt32 = 0
    service_account: Annotated[str, Meta(max_length=253)] = ""


class EntryCondition(Part, frozen=True):
    """A condition such as Healthy; `status` is True, False or Unknown."""

    type: str = ""
    status: str = ""


class WorkloadEntryStatus(Part, frozen=True):
    """What is known of the workload by now."""

    conditions: tuple[EntryCondition, ...] = ()


class WorkloadEntry(IstioResource, frozen=True):
    """The kind."""

    spec: WorkloadEntrySpec
    status: WorkloadEntryStatus = WorkloadEntryStatus()
