"""Endpoints: the addresses behind a service, the only part of the mesh that moves all the time."""

from enum import StrEnum

from msgspec import Struct

from libs.model.ids import Ref, ServiceKey, WorkloadKey


class Health(StrEnum):
    """Whether an endpoint may be sent traffic."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"


class Locality(Struct, frozen=True, gc=False, omit_defaults=True):
    """Where a workload runs. Empty parts are unknown."""

    region: str = ""
    zone: str = ""
    subzone: str = ""


class Endpoint(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One address and port that serves one port of a service."""

    address: str  # an IP address, a DNS name, or unix:///path; empty: only its network is known
    port: int
    port_name: str  # the name of the service's port
    health: Health = Health.HEALTHY
    workload: WorkloadKey = WorkloadKey("")
    workload_name: str = ""  # of the controller (Deployment, …), for telemetry
    labels: dict[str, str] = {}
    service_account: str = ""
    namespace: str = ""
    mtls: bool = False  # its sidecar accepts mesh TLS (label security.istio.io/tlsMode=istio)
    locality: Locality = Locality()
    node: str = ""
    network: str = ""
    weight: int = 1
    hostname: str = ""  # by which a headless service has a name for it alone
    others: tuple[str, ...] = ()  # the same workload's addresses in further families
    gateway: bool = False  # stands for endpoints of `network`, of which it is a gateway

    @property
    def place(self) -> tuple[str, str, int, str]:
        """What makes two endpoints of a service the same one; sorted by it, they are in order."""
        somewhere = "" if self.address else f"{self.network}/{self.workload}"
        return self.port_name, self.address, self.port, somewhere


class EndpointSet(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """All endpoints of one service, ordered, so that equal sets are equal bytes."""

    key: ServiceKey
    refs: tuple[Ref, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
