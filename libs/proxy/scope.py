"""ProxyScope: what one proxy may see, and all that a generator gets. The argument is the cache key.

A scope has an outbound part, equal for most proxies of a namespace, and an inbound part for its
own workload. Endpoints stand apart, as they move all the time: an `EndpointScope` a cluster.
Proxies whose scopes have equal digests are one class and get the same bytes.
"""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from libs.model.endpoint import Endpoint, Locality
from libs.model.extensions import Extension
from libs.model.gateway import Server, ServerTls
from libs.model.ids import Ref, ServiceKey
from libs.model.patches import PatchSet
from libs.model.security import AccessPolicy, MtlsMode
from libs.model.service import Protocol, Service
from libs.model.settings import MeshSettings
from libs.model.sidecar import EgressListener, IngressListener
from libs.model.telemetry import Telemetry
from libs.model.tokens import TokenPolicy
from libs.model.traffic import (
    ConnectionPool,
    Destination,
    LocalityBalancing,
    Routing,
    TrafficPolicy,
)
from libs.proxy.crossing import NO_CROSSING, Crossing
from libs.proxy.node import Families, Interception, ProxyType


class ScopedSubset(Struct, frozen=True, gc=False, kw_only=True):
    """A subset of a service with its policy at each port: mesh to port already merged."""

    name: str  # "" is the whole service
    labels: dict[str, str]
    policies: Mapping[int, TrafficPolicy]  # by port number


class ScopedService(Struct, frozen=True, kw_only=True, weakref=True):
    """A service that a proxy may call, with everything that decides how."""

    service: Service
    subsets: tuple[ScopedSubset, ...]  # the first is the whole service, named ""
    policy_refs: tuple[Ref, ...] = ()  # where the policies came from
    peer_refs: tuple[Ref, ...] = ()  # of the peer policies that forbid mesh TLS
    policy_source: Ref = Ref("")  # of the host policy, the oldest if several were merged
    accounts: tuple[
        str, ...
    ] = ()  # SPIFFE ids of its endpoints, sorted: the names a server may prove
    auto_mtls: bool = True  # no peer policy forbids mesh TLS
    # Where the application picks the endpoint (ORIGINAL, or PASSTHROUGH in some port or subset):
    # one of them at least has no sidecar, or none is known. It counts in those clusters alone; all
    # others decide endpoint by endpoint.
    plaintext_endpoint: bool = False
    aliases: tuple[str, ...] = ()  # further host names of the same service (ExternalName)
    pod_addresses: tuple[str, ...] = ()  # headless only: its endpoints' addresses, sorted
    pod_names: tuple[tuple[str, str], ...] = ()  # likewise: hostname and address, sorted
    selected: bool = False  # its policy chose the client by labels, so it may name a credential
    dns_endpoints: tuple[Endpoint, ...] = ()  # resolution by DNS only: they stand in the cluster
    digest: bytes = b""  # of all the above; filled in once by whoever makes the object

    @property
    def refs(self) -> tuple[Ref, ...]:
        """All configuration that the service's clusters come from."""
        return (self.service.ref, *self.policy_refs, *self.peer_refs)


class BoundServer(Struct, frozen=True, gc=False):
    """A server of a gateway as it stands on a listener: with those hosts that are left to it."""

    gateway: str  # `<namespace>/<name>`
    ref: Ref
    server: Server


class GatewayListener(Struct, frozen=True, gc=False):
    """A router's own port, at an address or at all (empty), with its servers, oldest first."""

    port: int
    bind: str
    servers: tuple[BoundServer, ...]


class EgressView(Struct, frozen=True, gc=False, kw_only=True):
    """One listener of a Sidecar, and what can be reached through it."""

    listener: EgressListener  # without its hosts
    services: tuple[str, ...]  # hosts, sorted
    routings: tuple[Ref, ...]


class Whereabouts(NamedTuple):
    """Where a client is, as far as that decides which endpoints it gets."""

    locality: Locality = Locality()
    node: str = ""
    labels: tuple[tuple[str, str], ...] = ()  # topology included
    network: str = ""  # only where networks have gateways
    views: tuple[str, ...] = ()  # the networks that it wants to see, if not all
    dials: bool = True  # addresses that were dialled are called, where a policy passes them through


ANYWHERE = Whereabouts()


class OutboundScope(Struct, frozen=True, kw_only=True, weakref=True):
    """What a proxy may call. `services` are sorted by host and hold one service for each host."""

    type: ProxyType
    namespace: str
    dns_domain: str
    settings: MeshSettings
    interception: Interception
    services: tuple[ScopedService, ...]
    # Private ones first, then those exported to the namespace, then public ones; oldest first among
    # them. Only the matches that this proxy can ever meet are left.
    routings: tuple[Routing, ...]
    own_addresses: tuple[str, ...] = ()  # only where a headless service of its own needs them
    http_proxy_port: int = 0
    outbound_address: str = ""  # only with Interception.NONE
    unprivileged: bool = False  # the proxy cannot open sockets on ports below 1024
    families: Families = Families.IPV4  # of the proxy's addresses
    dns_capture: bool = False  # its agent answers the application's DNS queries
    external_secrets: bool = False  # somebody beside it serves users' certificates
    # Only where a Sidecar says more than which services there are; else everything is one listener.
    egress: tuple[EgressView, ...] = ()
    allow_any: bool = True  # what nobody declared may be called
    dynamic_dns: bool = False  # and requests to it go where DNS says
    egress_proxy: Destination | None = None  # and by way of this
    sidecar: Ref = Ref("")
    gateways: tuple[GatewayListener, ...] = ()  # of a router; its routings are bound to them
    place: Whereabouts = ANYWHERE  # only where it decides who stands for names that DNS resolves
    ways: Crossing = NO_CROSSING  # likewise: into networks, by names as they are written


class InboundPort(Struct, frozen=True, gc=False, kw_only=True):
    """One port of the workload that a service exposes (or that a peer policy names)."""

    port: int  # the workload's own port
    protocol: Protocol
    mode: MtlsMode  # DISABLE, PERMISSIVE or STRICT: inheritance is already resolved
    mode_refs: tuple[Ref, ...] = ()
    service: Service | None = None  # the oldest service that exposes the port
    service_port: int = 0
    ingress: IngressListener | None = None  # of a Sidecar, in place of what services expose
    pool: ConnectionPool | None = None
    pool_refs: tuple[Ref, ...] = ()  # the host policies that the pool came from
    # Where the ingress leads: an IP address (and `endpoint_port`) or unix://…; empty: onward.
    endpoint: str = ""
    endpoint_port: int = 0

    @property
    def bound(self) -> bool:
        """Whether a Sidecar wants a real socket for the port."""
        return self.ingress is not None and self.ingress.bound

    @property
    def ended_tls(self) -> ServerTls | None:
        """TLS that ends here for whoever calls; none where the mesh's own mutual TLS is spoken."""
        if self.ingress is None or self.mode is not MtlsMode.DISABLE:
            return None
        return self.ingress.tls


class OwnCluster(Struct, frozen=True, gc=False, kw_only=True):
    """What Envoy is told of the workload that it stands beside; see `libs.proxy.own_cluster`."""

    service: ServiceKey  # empty: none has the workload
    port: str  # of the service, by name: each workload has one endpoint there
    locality: Locality
    workload_name: str
    revision: str


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
    ]  # only with Interception.NONE or without a proxy, else empty so that replicas are one class
    settings: MeshSettings
    interception: Interception
    ports: tuple[InboundPort, ...]  # sorted by port
    mode: MtlsMode  # of every other port
    mode_refs: tuple[Ref, ...]
    policies: tuple[
        AccessPolicy, ...
    ]  # those that select the workload: root namespace first, then name
    application_address: str = ""  # only with Interception.NONE
    families: Families = Families.IPV4  # of the proxy's addresses
    telemetry: Telemetry = Telemetry()
    tokens: tuple[TokenPolicy, ...] = ()  # those that select the workload, in the order of policies
    patches: tuple[
        PatchSet, ...
    ] = ()  # for the whole proxy, in the order in which they are applied
    extensions: tuple[Extension, ...] = ()  # for the whole proxy, greatest priority first
    own: OwnCluster | None = None  # only of a proxy that balances by zones
    http10: bool = False  # takes requests of HTTP/1.0, from whomever
    idle_timeout: int | None = None  # milliseconds, of connections of which no policy says it


class EndpointScope(Struct, frozen=True, kw_only=True, weakref=True):
    """What decides the endpoints of one cluster for one class of clients."""

    cluster: str
    service: ServiceKey
    endpoints: tuple[Endpoint, ...]  # of the port and subset, in order
    refs: tuple[Ref, ...]
    mtls_disabled_ports: tuple[
        tuple[str, int], ...
    ] = ()  # (address, port) where a peer policy forbids it
    balancing: LocalityBalancing | None = None  # what is in force, defaults included
    locality: Locality = Locality()  # of the client; empty unless balancing by locality
    failover: bool = False  # nearer endpoints first, farther ones when those fail
    labels: dict[str, str] = {}  # of the client: only those that the failover priority names
    mesh_tls: bool = True  # False where the client's own policy asks for another TLS mode
    cluster_id: str = ""


class EndpointScopes(dict[str, EndpointScope]):
    """All endpoint scopes of one class of clients, by cluster. Never changed; compare by `is`."""


class ProxyScope(Struct, frozen=True, gc=False, kw_only=True):
    """Everything that a generator may know. `digest` is equal for equal scopes."""

    outbound: OutboundScope
    inbound: InboundScope
    outbound_digest: str
    inbound_digest: str
    endpoints: EndpointScopes  # not part of the digest
