"""Networks: parts of the mesh that reach each other through gateways only.

Who is in which network stands at endpoints and proxies. Here stands what resources say of networks
themselves: their gateways, and to which network an address belongs that nothing else places. An
endpoint in no network, like a proxy in none, is reached and reaches directly.
"""

from msgspec import Struct

from libs.model.ids import Ref


class NetworkGateway(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Where a network is entered from outside: a port that passes TLS on by its server name."""

    network: str
    address: str  # an IP address, or a name
    port: int
    addresses: tuple[str, ...] = ()  # IP addresses: itself, or what its name resolves to, sorted
    of_service: bool = False  # of a Service of the cluster: those go before what is only written


class NetworkRange(Struct, frozen=True, gc=False):
    """A block of addresses that belongs to a network."""

    block: str  # CIDR
    network: str


class ServiceRole(Struct, frozen=True, gc=False):
    """A Service, by its host, that is a gateway of a network at one of its ports."""

    host: str
    network: str
    port: int


class Networks(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What one resource says of networks."""

    ref: Ref
    gateways: tuple[NetworkGateway, ...] = ()  # in order
    own: str = ""  # the network of the cluster itself
    ranges: tuple[NetworkRange, ...] = ()  # the wider ones first; the first that fits counts
    services: tuple[ServiceRole, ...] = ()
