"""Small meshes for tests: rows with the fields that a test is not about already filled in."""

from msgspec import Struct

from libs.model.endpoint import Endpoint, EndpointSet
from libs.model.extensions import Extension
from libs.model.gateway import ANY_NAMESPACE, Gateway, Server, ServerHost
from libs.model.ids import Ref, SpiffeId, ref, service_key, workload_key
from libs.model.machine import MachineGroup
from libs.model.mesh import Key, Mesh, Table
from libs.model.networks import Networks
from libs.model.patches import PatchSet
from libs.model.security import AccessPolicy, PeerPolicy
from libs.model.service import Protocol, Resolution, Service, ServicePort
from libs.model.settings import MeshSettings
from libs.model.sidecar import EgressListener, HostPattern, Sidecar
from libs.model.telemetry import TelemetryPolicy
from libs.model.tokens import TokenPolicy
from libs.model.traffic import HostPolicy, Routing
from libs.model.workload import Namespace, Workload
from libs.proxy.node import Proxy, ProxyType

_TABLES: dict[type[Struct], tuple[Table, str]] = {
    MeshSettings: (Table.SETTINGS, ""),
    Namespace: (Table.NAMESPACE, "name"),
    Service: (Table.SERVICE, "key"),
    EndpointSet: (Table.ENDPOINTS, "key"),
    Workload: (Table.WORKLOAD, "key"),
    Routing: (Table.ROUTING, "ref"),
    HostPolicy: (Table.HOST_POLICY, "ref"),
    PeerPolicy: (Table.PEER_POLICY, "ref"),
    Gateway: (Table.GATEWAY, "ref"),
    AccessPolicy: (Table.ACCESS_POLICY, "ref"),
    Sidecar: (Table.SIDECAR, "ref"),
    TokenPolicy: (Table.TOKEN_POLICY, "ref"),
    TelemetryPolicy: (Table.TELEMETRY, "ref"),
    PatchSet: (Table.PATCHES, "ref"),
    Extension: (Table.EXTENSION, "ref"),
    MachineGroup: (Table.MACHINE_GROUP, "key"),
    Networks: (Table.NETWORKS, "ref"),
}


def row_key(row: Struct) -> Key:
    """Return the key under which a row stands."""
    table, field = _TABLES[type(row)]
    return Key(table, getattr(row, field) if field else "")


def mesh(*rows: Struct, before: Mesh | None = None) -> Mesh:
    """Return a mesh of `rows`, or `before` with them added or replaced."""
    return (before or Mesh()).evolve((row_key(row), row) for row in rows)


def fqdn(name: str, namespace: str = "shop") -> str:
    """Return the host name of a service in a cluster."""
    return f"{name}.{namespace}.svc.cluster.local"


def port(number: int = 80, protocol: Protocol = Protocol.HTTP, name: str = "") -> ServicePort:
    """Return a service's port, named after its protocol and number."""
    return ServicePort(number, name or f"{protocol.lower()}-{number}", protocol)


def service(name: str, *ports: ServicePort, namespace: str = "shop", **fields: object) -> Service:
    """Return a Kubernetes service with an address of its own unless `addresses` says otherwise."""
    host = str(fields.pop("host", fqdn(name, namespace)))
    headless = fields.get("resolution") in {Resolution.ORIGINAL, Resolution.ALIAS}
    fields.setdefault("addresses", () if headless else (vip(host),))
    return Service(
        key=service_key(namespace, host),
        ref=ref("Service", namespace, name),
        host=host,
        namespace=namespace,
        name=name,
        ports=ports or (port(),),
        **fields,  # type: ignore[arg-type]
    )


def vip(host: str) -> str:
    """Return an address that belongs to `host` alone."""
    number = sum(position * ord(char) for position, char in enumerate(host, 1))
    return f"10.96.{number // 250 % 250}.{number % 250 + 1}"


def endpoints(of: Service, *addresses: str, **fields: object) -> EndpointSet:
    """Return endpoints of every port of a service at `addresses`, with sidecars."""
    fields.setdefault("mtls", True)
    fields.setdefault("service_account", of.name)
    found = tuple(
        Endpoint(
            address=address,
            port=of_port.number,
            port_name=of_port.name,
            namespace=of.namespace,
            **fields,  # type: ignore[arg-type]
        )
        for of_port in of.ports
        for address in addresses
    )
    return EndpointSet(key=of.key, endpoints=found)


def workload(name: str, namespace: str = "shop", **fields: object) -> Workload:
    """Return a pod."""
    return Workload(
        key=workload_key(namespace, name),
        ref=ref("Pod", namespace, name),
        name=name,
        namespace=namespace,
        **fields,  # type: ignore[arg-type]
    )


def routing(name: str, *hosts: str, namespace: str = "shop", **fields: object) -> Routing:
    """Return a VirtualService's routing of `hosts`, which are full names."""
    return Routing(
        ref=ref("VirtualService", namespace, name),
        namespace=namespace,
        name=name,
        hosts=hosts,
        **fields,  # type: ignore[arg-type]
    )


def server(
    number: int,
    protocol: Protocol = Protocol.HTTP,
    hosts: tuple[str, ...] = ("*",),
    **fields: object,
) -> Server:
    """Return a gateway's server for `hosts`, written `<name>` or `<namespace>/<name>`."""
    pairs = (host.rpartition("/") for host in hosts)
    return Server(
        number=number,
        port_name=f"{protocol.lower()}-{number}",
        protocol=protocol,
        hosts=tuple(ServerHost(owner or ANY_NAMESPACE, host) for owner, _, host in pairs),
        **fields,  # type: ignore[arg-type]
    )


def gateway(name: str, *servers: Server, namespace: str = "shop", **fields: object) -> Gateway:
    """Return a gateway for every router, unless `selector` says otherwise."""
    return Gateway(
        ref=ref("Gateway", namespace, name),
        namespace=namespace,
        name=name,
        servers=servers,
        **fields,  # type: ignore[arg-type]
    )


def host_policy(name: str, host: str, namespace: str = "shop", **fields: object) -> HostPolicy:
    """Return a DestinationRule's policy for `host`, a full name."""
    return HostPolicy(
        ref=ref("DestinationRule", namespace, name),
        namespace=namespace,
        name=name,
        host=host,
        **fields,  # type: ignore[arg-type]
    )


def peer_policy(name: str, namespace: str = "shop", **fields: object) -> PeerPolicy:
    """Return a PeerAuthentication's policy."""
    return PeerPolicy(
        ref=ref("PeerAuthentication", namespace, name),
        namespace=namespace,
        name=name,
        **fields,  # type: ignore[arg-type]
    )


def sidecar(name: str, *hosts: str, namespace: str = "shop", **fields: object) -> Sidecar:
    """Return a Sidecar that imports `hosts`, each `<namespace>/<host>`, through one listener."""
    pairs = (host.partition("/") for host in hosts)
    patterns = tuple(HostPattern(owner, name) for owner, _, name in pairs)
    fields.setdefault("egress", (EgressListener(hosts=patterns),) if patterns else ())
    return Sidecar(ref=ref("Sidecar", namespace, name), namespace=namespace, name=name, **fields)  # type: ignore[arg-type]


def access_policy(name: str, namespace: str = "shop", **fields: object) -> AccessPolicy:
    """Return an AuthorizationPolicy's policy."""
    return AccessPolicy(
        ref=ref("AuthorizationPolicy", namespace, name),
        namespace=namespace,
        name=name,
        **fields,  # type: ignore[arg-type]
    )


def telemetry_policy(name: str, namespace: str = "shop", **fields: object) -> TelemetryPolicy:
    """Return a Telemetry's policy."""
    return TelemetryPolicy(
        ref=ref("Telemetry", namespace, name),
        namespace=namespace,
        name=name,
        **fields,  # type: ignore[arg-type]
    )


def token_policy(name: str, namespace: str = "shop", **fields: object) -> TokenPolicy:
    """Return a RequestAuthentication's policy."""
    return TokenPolicy(
        ref=ref("RequestAuthentication", namespace, name),
        namespace=namespace,
        name=name,
        **fields,  # type: ignore[arg-type]
    )


def extension(name: str, namespace: str = "shop", **fields: object) -> Extension:
    """Return a TrafficExtension's row."""
    return Extension(
        ref=ref("TrafficExtension", namespace, name),
        namespace=namespace,
        name=name,
        **fields,  # type: ignore[arg-type]
    )


def proxy(name: str = "client", namespace: str = "shop", **fields: object) -> Proxy:
    """Return a connected sidecar."""
    fields.setdefault("type", ProxyType.SIDECAR)
    fields.setdefault("addresses", ("10.244.0.9",))
    return Proxy(
        id=f"sidecar~10.244.0.9~{name}.{namespace}~{namespace}.svc.cluster.local",
        name=name,
        namespace=namespace,
        identity=SpiffeId("cluster.local", namespace, "default"),
        workload=workload_key(namespace, name),
        dns_domain=f"{namespace}.svc.cluster.local",
        **fields,  # type: ignore[arg-type]
    )


NO_REF = Ref("")
