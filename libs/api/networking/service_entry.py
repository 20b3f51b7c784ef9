"""ServiceEntry: services that Kubernetes does not know, inside of the mesh or outside.

None marks the fields for which absence means something else than zero.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from libs.api.networking.workload_entry import WorkloadEntrySpec
from libs.api.resource import IstioResource, Message
from libs.api.scalars import UInt32
from libs.api.selector import WorkloadLabels


class Location(StrEnum):
    """Whether the hosts are part of the mesh, and so may speak mutual TLS."""

    MESH_EXTERNAL = "MESH_EXTERNAL"
    MESH_INTERNAL = "MESH_INTERNAL"


class Resolution(StrEnum):
    """How a proxy finds the endpoints."""

    NONE = "NONE"
    STATIC = "STATIC"
    DNS = "DNS"
    DNS_ROUND_ROBIN = "DNS_ROUND_ROBIN"
    DYNAMIC_DNS = "DYNAMIC_DNS"


class EntryPort(Message, frozen=True):
    """A port of the hosts; a `target_port` of None is the number itself."""

    number: UInt32
    name: Annotated[str, Meta(max_length=256)]
    protocol: Annotated[str, Meta(max_length=256)] = ""
    target_port: UInt32 | None = None


class ServiceEntrySpec(Message, frozen=True):
    """Fields of the kind."""

    hosts: Annotated[tuple[str, ...], Meta(min_length=1, max_length=256)]
    addresses: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=256)] = ()
    ports: Annotated[tuple[EntryPort, ...], Meta(max_length=256)] = ()
    location: Location = Location.MESH_EXTERNAL
    resolution: Resolution = Resolution.NONE
    endpoints: Annotated[tuple[WorkloadEntrySpec, ...], Meta(max_length=4096)] | None = None
    workload_selector: WorkloadLabels | None = None
    export_to: tuple[str, ...] = ()
    subject_alt_names: tuple[str, ...] = ()


class ServiceEntry(IstioResource, frozen=True):
    """The kind."""

    spec: ServiceEntrySpec
