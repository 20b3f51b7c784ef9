"""Ingress addresses: where the Ingresses of the mesh are entered, as their status says it.

That is what `ingressService` has been given from outside: the entries of its load balancer and its
external addresses, or the name that it stands for. If MeshConfig names no Service, it is the
external addresses of the nodes on which ingress pods run. Which Ingresses are the mesh's is decided
in `libs.translate.ingress`; who writes a status, not here.
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import cast

from libs.api.ingress import Ingress
from libs.api.kubernetes import LoadBalancerIngress, Node, Phase, Pod, Service, ServiceType
from libs.api.resource import Resource
from libs.model.ids import Ref, ref
from libs.model.mesh import Mesh
from libs.model.settings import MeshSettings
from libs.translate.state import State

_EXTERNAL = "ExternalIP"
_RUNNING = Phase.RUNNING
_KIND = f"{Ingress.__name__}/"

Addresses = tuple[LoadBalancerIngress, ...]


def ours(mesh: Mesh) -> frozenset[Ref]:
    """Return the Ingresses that the mesh serves."""
    return frozenset(row.ref for row in mesh.gateways.values() if row.ref.startswith(_KIND))


def addresses(state: State) -> Addresses:
    """Return where Ingresses are entered, each once, addresses before names."""
    found = {_entry(it) for it in _found(state, state.settings)}
    return tuple(sorted(found, key=lambda it: (not it.ip, it.ip, it.hostname)))


def _found(state: State, settings: MeshSettings) -> Iterator[str]:
    name, namespace = settings.ingress_service, settings.ingress_home
    if not name:
        yield from _of_nodes(state, settings)
        return
    service = _kind(state, Service).get(ref(Service.__name__, namespace, name))
    if service is not None:
        yield from _of_service(cast("Service", service))


def _of_service(service: Service) -> Iterator[str]:
    if service.spec.type is ServiceType.EXTERNAL_NAME:
        yield service.spec.external_name
        return
    entries = service.status.load_balancer.ingress
    yield from (it.ip or it.hostname for it in entries if it.ip or it.hostname)
    yield from service.spec.external_ips


def _of_nodes(state: State, settings: MeshSettings) -> Iterator[str]:
    nodes = _kind(state, Node)
    for name in {pod.spec.node_name for pod in _ingress_pods(state, settings)}:
        node = nodes.get(ref(Node.__name__, "", name))
        if node is not None:
            written = cast("Node", node).status.addresses
            yield from (it.address for it in written if it.type == _EXTERNAL and it.address)


def _ingress_pods(state: State, settings: MeshSettings) -> Iterator[Pod]:
    for resource in _kind(state, Pod).values():
        pod, metadata = cast("Pod", resource), resource.metadata
        is_there = metadata.namespace == settings.ingress_home and pod.status.phase is _RUNNING
        if is_there and metadata.labels.get("istio") == settings.ingress_selector:
            yield pod


def _kind(state: State, kind: type[Resource]) -> Mapping[Ref, Resource]:
    return state.resources.get(kind.__name__, {})


def _entry(text: str) -> LoadBalancerIngress:
    try:
        ip_address(text)
    except ValueError:
        return LoadBalancerIngress(hostname=text)
    return LoadBalancerIngress(ip=text)
