"""ProxyScope: what one proxy may see, and all that a generator gets. The argument is the cache key.

A scope has an outbound part, equal for most proxies of a namespace, and an inbound part for its
own workload. Endpoints stand apart, as they move all the time: an `EndpointScope` a cluster.
Proxies whose scopes have equal digests are one class and get the same bytes.
"""

from collections.abc import Mapping

from msgspec import Struct

from libs.model.endpoint import Endpoint, Locality
from libs.model.ids import Ref, ServiceKey
from libs.model.security import AccessPolicy, MtlsMode
from libs.model.service import Protocol, Service
from libs.model.settings import MeshSettings
from libs.model.traffic import LoadBalancing, OutlierDetection, Routing, TrafficPolicy
from libs.proxy.node import Interception, ProxyType


class ScopedSubset(Struct, frozen=True, gc=False, kw_only=True):
    """A subset of a service with its policy at each port: mesh to port already merged."""

    name: str  # "" is the whole service
    labels: dict[str, str]
    policies: Mapping[int, TrafficPolicy]  # by port number


class ScopedService(Struct, frozen=True, gc=False, kw_only=True):
    """A service that a proxy may call, with everything that decides how."""

    service: Service
    subsets: tuple[ScopedSubset, ...]  # the first is the whole service, named ""
    policy_refs: tuple[Ref, ...] = ()  # where the policies came from
    accounts: tuple[
        str, ...
    ] = ()  # SPIFFE ids of its endpoints, sorted: the names a server may prove
    auto_mtls: bool = True  # no peer policy forbids mesh TLS
    plaintext_endpoint: bool = (
        False  # one endpoint at least has no sidecar (decides for ORIGINAL clusters)
    )
    aliases: tuple[str, ...] = ()  # further host names of the same service (ExternalName)
    pod_addresses: tuple[str, ...] = ()  # headless only: its endpoints' addresses, sorted


class OutboundScope(Struct, frozen=True, gc=False, kw_only=True):
    """What a proxy may call. `services` are sorted by host and hold one service for each host."""

    type: ProxyType
    namespace: str
    dns_domain: str
    settings: MeshSettings
    interception: Interception
    services: tuple[ScopedService, ...]
    routings: tuple[Routing, ...]  # oldest first; only the matches that this proxy can ever meet
    own_addresses: tuple[str, ...] = ()  # only where a headless service of its own needs them
    http_proxy_port: int = 0
    outbound_address: str = ""  # only with Interception.NONE


class InboundPort(Struct, frozen=True, gc=False, kw_only=True):
    """One port of the workload that a service exposes (or that a peer policy names)."""

    port: int  # the workload's own port
    protocol: Protocol
    mode: MtlsMode  # DISABLE, PERMISSIVE or STRICT: inheritance is already resolved
    mode_refs: tuple[Ref, ...] = ()
    service: Service | None = None  # the oldest service that exposes the port
    service_port: int = 0


class InboundScope(Struct, frozen=True, gc=False, kw_only=True):
    """What a proxy lets in for its own workload."""

    type: ProxyType
    namespace: str
    service_account: str
    workload_name: str
    canonical_name: str
    canonical_revision: str
    labels: dict[str, str]
    addresses: tuple[
        str, ...
    ]  # only with Interception.NONE, else empty so that replicas are one class
    settings: MeshSettings
    interception: Interception
    ports: tuple[InboundPort, ...]  # sorted by port
    mode: MtlsMode  # of every other port
    mode_refs: tuple[Ref, ...]
    policies: tuple[
        AccessPolicy, ...
    ]  # those that select the workload: root namespace first, then name
    application_address: str = ""  # only with Interception.NONE


class EndpointScope(Struct, frozen=True, gc=False, kw_only=True):
    """What decides the endpoints of one cluster for one class of clients."""

    cluster: str
    service: ServiceKey
    endpoints: tuple[Endpoint, ...]  # of the port and subset, in order
    refs: tuple[Ref, ...]
    mtls_disabled_ports: tuple[
        tuple[str, int], ...
    ] = ()  # (address, port) where a peer policy forbids it
    balancing: LoadBalancing | None = None
    outlier: OutlierDetection | None = None
    locality: Locality = Locality()  # of the client; empty unless balancing by locality


class ProxyScope(Struct, frozen=True, gc=False, kw_only=True):
    """Everything that a generator may know. `digest` is equal for equal scopes."""

    outbound: OutboundScope
    inbound: InboundScope
    outbound_digest: str
    inbound_digest: str
    endpoints: Mapping[str, EndpointScope]  # by cluster name; not part of the digest
