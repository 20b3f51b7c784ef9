"""What a workload's proxy sees of the mesh, and what it lets in: narrower than by default."""

from msgspec import Struct

from libs.model.gateway import ServerTls
from libs.model.ids import Ref
from libs.model.service import Protocol
from libs.model.traffic import ConnectionPool, Destination


class HostPattern(Struct, frozen=True, gc=False, omit_defaults=True):
    """Hosts of a namespace; `*` stands for every namespace. `excluded` ones are left out."""

    namespace: str
    host: str  # a name, `*.suffix` or `*`
    excluded: bool = False


class ListenerPort(Struct, frozen=True, gc=False, omit_defaults=True):
    """The port of a listener; 0 if it is bound to a Unix socket."""

    number: int
    protocol: Protocol
    name: str = ""


class EgressListener(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What the proxy may call through one listener, or with no port, through all others."""

    hosts: tuple[HostPattern, ...]
    port: ListenerPort | None = None
    http_proxy: bool = False  # clients ask it as an HTTP proxy, for services of any port
    bind: str = ""  # an IP address, or unix:// and a path
    bound: bool = False  # to a real socket: nothing is intercepted


class IngressListener(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A port that is let in, and where it leads: in place of what services expose."""

    port: ListenerPort
    bind: str = ""
    bound: bool = False
    default_endpoint: str = (
        ""  # `<address>:<port>` or unix://…; empty: where the client meant to go
    )
    pool: ConnectionPool | None = None
    # That the proxy ends for its workload; only where mutual TLS of the mesh is switched off.
    tls: ServerTls | None = None


class Sidecar(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Settings of the proxies that `selector` covers; of the root namespace's, of all others."""

    ref: Ref
    namespace: str
    name: str
    created: int = 0
    selector: dict[str, str] | None = None
    egress: tuple[EgressListener, ...] = ()  # empty: everything that is visible
    ingress: tuple[IngressListener, ...] = ()
    inbound_pool: ConnectionPool | None = None
    allow_any: bool | None = None  # None: as the mesh's settings have it
    egress_proxy: Destination | None = None  # for what nobody declared
