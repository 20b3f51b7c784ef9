"""Kubernetes' own kinds, as far as the mesh reads them.

What an API server has already checked is not declared again; other fields are ignored.
"""

from enum import StrEnum

from msgspec import field

from libs.api.resource import Part, Resource


class Namespace(Resource, frozen=True):
    """A namespace; only its labels and annotations are of interest."""


class NodeAddress(Part, frozen=True):
    """One address of a machine; `type` says who can use it, such as ExternalIP."""

    type: str = ""
    address: str = ""


class NodeStatus(Part, frozen=True):
    """What is known of a machine."""

    addresses: tuple[NodeAddress, ...] = ()


class Node(Resource, frozen=True):
    """A machine; its labels name its region and zone."""

    status: NodeStatus = NodeStatus()


class ServiceAccount(Resource, frozen=True):
    """The identity of pods."""


class ConfigMap(Resource, frozen=True):
    """Texts by key."""

    data: dict[str, str] = {}


class Transport(StrEnum):
    """What a port runs over."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


class ServiceType(StrEnum):
    """How a service is published."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"
    EXTERNAL_NAME = "ExternalName"


class TrafficScope(StrEnum):
    """Which endpoints traffic from inside the cluster may use."""

    CLUSTER = "Cluster"
    LOCAL = "Local"


HEADLESS = "None"
"""The cluster IP of a service without one."""


class ServicePort(Part, frozen=True):
    """A port of a service; `target_port` is a number or a container port's name, 0 if not set."""

    port: int
    name: str = ""
    protocol: Transport = Transport.TCP
    app_protocol: str = ""
    target_port: int | str = 0
    node_port: int = 0


class ServiceSpec(Part, frozen=True):
    """What a service listens on and whom it selects."""

    type: ServiceType = ServiceType.CLUSTER_IP
    cluster_ip: str = field(default="", name="clusterIP")
    cluster_ips: tuple[str, ...] = field(default=(), name="clusterIPs")
    external_name: str = ""
    external_ips: tuple[str, ...] = field(default=(), name="externalIPs")
    ports: tuple[ServicePort, ...] = ()
    selector: dict[str, str] = {}
    publish_not_ready_addresses: bool = False
    internal_traffic_policy: TrafficScope = TrafficScope.CLUSTER
    traffic_distribution: str = ""


class LoadBalancerIngress(Part, frozen=True):
    """Where a load balancer is entered: an IP address, or else a name."""

    ip: str = ""
    hostname: str = ""


class LoadBalancerStatus(Part, frozen=True):
    """What is known of a load balancer."""

    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Part, frozen=True):
    """What has been made for a service."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(Resource, frozen=True):
    """A name with ports in front of pods, or of somewhere else (ExternalName)."""

    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class AddressType(StrEnum):
    """What the addresses of an endpoint slice are."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"
    FQDN = "FQDN"


class EndpointConditions(Part, frozen=True):
    """None means unknown: then ready counts as true, serving as `ready`, terminating as false."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ObjectReference(Part, frozen=True):
    """Another resource."""

    kind: str = ""
    name: str = ""
    namespace: str = ""


class SliceEndpoint(Part, frozen=True):
    """One endpoint; its addresses are equivalent, and only the first is ever used."""

    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    hostname: str = ""
    node_name: str = ""
    target_ref: ObjectReference | None = None


class SlicePort(Part, frozen=True):
    """A port of every endpoint of the slice; its name is that of the service's port."""

    name: str = ""
    port: int | None = None  # None: every port
    protocol: Transport = Transport.TCP


class EndpointSlice(Resource, frozen=True):
    """A part of the endpoints of the service that label `kubernetes.io/service-name` names."""

    address_type: AddressType
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[SlicePort, ...] = ()


class ContainerPort(Part, frozen=True):
    """A port that a container declares."""

    container_port: int
    name: str = ""
    protocol: Transport = Transport.TCP


class Container(Part, frozen=True):
    """A container of a pod."""

    ports: tuple[ContainerPort, ...] = ()


class PodSpec(Part, frozen=True):
    """What runs in a pod, as whom, and where."""

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    service_account_name: str = ""
    node_name: str = ""
    hostname: str = ""
    subdomain: str = ""
    host_network: bool = False


class Phase(StrEnum):
    """Where a pod is in its life."""

    UNSET = ""
    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


class PodAddress(Part, frozen=True):
    """One address of a pod."""

    ip: str = ""


class PodCondition(Part, frozen=True):
    """A condition such as Ready; `status` is True, False or Unknown."""

    type: str = ""
    status: str = ""


class PodStatus(Part, frozen=True):
    """What a pod is doing."""

    phase: Phase = Phase.UNSET
    pod_ip: str = field(default="", name="podIP")
    pod_ips: tuple[PodAddress, ...] = field(default=(), name="podIPs")
    conditions: tuple[PodCondition, ...] = ()


class Pod(Resource, frozen=True):
    """A workload of the mesh."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()
