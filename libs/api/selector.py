"""How Istio's kinds point at workloads and ports."""

from typing import Annotated

from msgspec import Meta

from libs.api.resource import Message
from libs.api.scalars import UInt32


class WorkloadSelector(Message, frozen=True):
    """The workloads that carry all of `match_labels`."""

    match_labels: dict[str, str] = {}


class TargetReference(Message, frozen=True):
    """A Service, ServiceEntry, Gateway or GatewayClass that a policy attaches to."""

    kind: Annotated[str, Meta(min_length=1, max_length=63)]
    name: Annotated[str, Meta(min_length=1, max_length=253)]
    group: Annotated[str, Meta(max_length=253)] = ""
    namespace: str = ""


class PortSelector(Message, frozen=True):
    """A port of a service."""

    number: UInt32 = 0


class WorkloadLabels(Message, frozen=True):
    """The workloads that carry all of `labels`: the older form of `WorkloadSelector`."""

    labels: Annotated[dict[str, str], Meta(max_length=256)] = {}


class PortNumber(Message, frozen=True):
    """A port; unlike in a `PortSelector`, there is no way to leave it open."""

    number: Annotated[int, Meta(ge=1, le=65535)]
