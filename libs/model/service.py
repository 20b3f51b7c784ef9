"""Services: a host name, its ports, and where its endpoints come from."""

from enum import StrEnum

from msgspec import Struct

from libs.model.ids import Ref, ServiceKey


class Protocol(StrEnum):
    """What a port speaks. AUTO means that the proxy has to find out by itself."""

    HTTP = "HTTP"
    HTTP2 = "HTTP2"
    HTTPS = "HTTPS"
    GRPC = "GRPC"
    GRPC_WEB = "GRPC-WEB"
    TCP = "TCP"
    TLS = "TLS"
    MONGO = "Mongo"
    REDIS = "Redis"
    MYSQL = "MySQL"
    UDP = "UDP"
    AUTO = "Auto"

    @property
    def is_http(self) -> bool:
        """HTTP in clear text, so that a proxy can route each request."""
        return self in {Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB}

    @property
    def is_http2(self) -> bool:
        """HTTP of which each hop must be HTTP/2."""
        return self in {Protocol.HTTP2, Protocol.GRPC}

    @property
    def is_tls(self) -> bool:
        """TLS that the application itself speaks; a proxy sees no more than the SNI."""
        return self in {Protocol.HTTPS, Protocol.TLS}


class Resolution(StrEnum):
    """How a proxy finds the endpoints of a service."""

    ENDPOINTS = "endpoints"  # the control plane sends them (ClusterIP, STATIC)
    ORIGINAL = "original"  # the address that the application dialled (headless, NONE)
    DNS = "dns"
    DNS_ROUND_ROBIN = "dns-round-robin"
    DYNAMIC_DNS = "dynamic-dns"
    ALIAS = "alias"  # another name of the service `alias_of` (ExternalName)


class ServicePort(Struct, frozen=True, gc=False, omit_defaults=True):
    """One port of a service. `target` is a number, a port name of the pod, or 0 for `number`."""

    number: int
    name: str
    protocol: Protocol
    target: int | str = 0


class Service(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What a client may call. Times are seconds since the epoch, as Kubernetes gives them."""

    key: ServiceKey
    ref: Ref
    host: str
    namespace: str
    name: str = ""
    created: int = 0
    ports: tuple[ServicePort, ...] = ()
    addresses: tuple[str, ...] = ()  # virtual addresses or blocks; empty for headless and alias
    # Where there are none: what clients get as the address whose DNS queries their proxy answers.
    auto_addresses: tuple[str, ...] = ()
    resolution: Resolution = Resolution.ENDPOINTS
    external: bool = False  # outside the mesh: no mesh identity, no auto-mTLS
    registry: str = "Kubernetes"  # or "External", for services that a ServiceEntry declares
    alias_of: str = ""
    selector: dict[str, str] = {}
    labels: dict[str, str] = {}
    export_to: tuple[
        str, ...
    ] = ()  # empty: the mesh's default; "." own namespace, "*" all, "~" none
    subject_alt_names: tuple[str, ...] = ()
    node_local: bool = False  # internalTrafficPolicy: Local
    traffic_distribution: str = ""
    publish_not_ready: bool = False

    def port(self, number: int) -> ServicePort | None:
        """Return the port of that number, or None."""
        return next((port for port in self.ports if port.number == number), None)
