"""Sidecar: what a sidecar lets in, what it sees of the mesh, and what it does with the rest."""

from enum import StrEnum

from libs.api.networking.destination_rule import ConnectionPool
from libs.api.networking.server_tls import ServerTls
from libs.api.networking.virtual_service import Destination
from libs.api.resource import IstioResource, Message
from libs.api.scalars import UInt32
from libs.api.selector import WorkloadLabels


class CaptureMode(StrEnum):
    """Whether traffic comes to a listener by interception (IPTABLES) or by its address (NONE)."""

    DEFAULT = "DEFAULT"
    IPTABLES = "IPTABLES"
    NONE = "NONE"


class SidecarPort(Message, frozen=True):
    """The port of a listener; 0 if it is bound to a unix socket."""

    number: UInt32 = 0
    protocol: str = ""
    name: str = ""
    target_port: UInt32 = 0


class IngressListener(Message, frozen=True):
    """A listener for traffic to the workload; `default_endpoint` is where it goes on."""

    port: SidecarPort
    bind: str = ""
    capture_mode: CaptureMode = CaptureMode.DEFAULT
    default_endpoint: str = ""
    tls: ServerTls | None = None
    connection_pool: ConnectionPool | None = None


class EgressListener(Message, frozen=True):
    """A listener for traffic of the workload; without a port, for all that has no other one.

    A host is `namespace/name`, where `~namespace/name` leaves it out.
    """

    hosts: tuple[str, ...]
    port: SidecarPort | None = None
    bind: str = ""
    capture_mode: CaptureMode = CaptureMode.DEFAULT


class OutboundMode(StrEnum):
    """What becomes of traffic to hosts that nobody declared."""

    REGISTRY_ONLY = "REGISTRY_ONLY"
    ALLOW_ANY = "ALLOW_ANY"


class OutboundTrafficPolicy(Message, frozen=True):
    """Traffic to hosts that nobody declared; it may all go through one host."""

    mode: OutboundMode = OutboundMode.REGISTRY_ONLY
    egress_proxy: Destination | None = None


class SidecarSpec(Message, frozen=True):
    """Fields of the kind."""

    workload_selector: WorkloadLabels | None = None
    ingress: tuple[IngressListener, ...] = ()
    egress: tuple[EgressListener, ...] = ()
    inbound_connection_pool: ConnectionPool | None = None
    outbound_traffic_policy: OutboundTrafficPolicy | None = None


class Sidecar(IstioResource, frozen=True):
    """The kind."""

    spec: SidecarSpec = SidecarSpec()
