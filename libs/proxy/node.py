"""Who is asking: one proxy, read from its xDS node and proved by its credential.

The identity comes from the verified credential and decides the namespace. What the node claims of
namespace and service account must equal it. Labels come from the mesh's own workload whenever it is
known; a proxy's word about itself only fills in before its pod was seen.
"""

from enum import StrEnum

from msgspec import Struct

from libs.model.endpoint import Locality
from libs.model.ids import SpiffeId, WorkloadKey


class ProxyType(StrEnum):
    """The first part of a node id."""

    SIDECAR = "sidecar"
    ROUTER = "router"


class Interception(StrEnum):
    """How connections reach the proxy. NONE: explicit listeners on addresses of their own."""

    REDIRECT = "REDIRECT"
    TPROXY = "TPROXY"
    NONE = "NONE"


class Proxy(Struct, frozen=True, gc=False, kw_only=True):
    """One connected proxy."""

    id: str  # the node id: `sidecar~<ip>~<pod>.<namespace>~<namespace>.svc.<domain>`
    type: ProxyType
    name: str
    namespace: str
    identity: SpiffeId
    workload: WorkloadKey
    addresses: tuple[str, ...]
    dns_domain: str  # `<namespace>.svc.<cluster domain>`
    labels: dict[str, str] = {}
    locality: Locality = Locality()
    network: str = ""
    cluster_id: str = ""
    version: str = ""
    interception: Interception = Interception.REDIRECT
    http_proxy_port: int = 0
    # Only with Interception.NONE: where explicit listeners bind, where the application listens.
    outbound_address: str = "127.0.0.1"
    application_address: str = "127.0.0.1"
