"""Gateway: what a proxy at the edge of the mesh listens on, and for which hosts."""

from libs.api.networking.server_tls import ServerTls
from libs.api.resource import IstioResource, Message
from libs.api.scalars import UInt32


class ServerPort(Message, frozen=True):
    """The port of a server; the name is its own among the servers of the Gateway."""

    number: UInt32
    protocol: str
    name: str
    target_port: UInt32 = 0


class Server(Message, frozen=True):
    """One listener; a host is a name, or `namespace/name` to choose who may bind routes to it."""

    port: ServerPort
    hosts: tuple[str, ...]
    bind: str = ""
    tls: ServerTls | None = None
    default_endpoint: str = ""
    name: str = ""


class GatewaySpec(Message, frozen=True):
    """Fields of the kind; `selector` is of the labels of gateway pods."""

    servers: tuple[Server, ...] = ()
    selector: dict[str, str] = {}


class Gateway(IstioResource, frozen=True):
    """The kind."""

    spec: GatewaySpec = GatewaySpec()
