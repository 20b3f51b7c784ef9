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

    address: str  # an IP address, a DNS name, or unix:///path
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


class EndpointSet(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """All endpoints of one service, ordered, so that equal sets are equal bytes."""

    key: ServiceKey
    refs: tuple[Ref, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
