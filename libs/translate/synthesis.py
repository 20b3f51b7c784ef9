"""Synthesis: the endpoint slices that Kubernetes' controller would make, for folders of manifests.

People write Services and Pods, and nobody writes EndpointSlices by hand. Where an API server is the
source, its controller makes them and this is not used. A service that has a slice of its own gets
none from here.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from libs.api.kubernetes import (
    AddressType,
    EndpointConditions,
    EndpointSlice,
    ObjectReference,
    Pod,
    Service,
    ServicePort,
    ServiceType,
    SliceEndpoint,
    SlicePort,
    Transport,
)
from libs.api.resource import Metadata, Resource
from libs.translate.groups import SERVICE_NAME
from libs.translate.workloads import addresses, has_ended, is_ready, ports_by_name

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
AUTHOR = "seine"

Ports = tuple[SlicePort, ...]


def slices(resources: Iterable[Resource]) -> list[EndpointSlice]:
    """Return the slices that services lack; `resources` are all of one namespace."""
    found = sorted(resources, key=lambda it: it.ref)
    pods = [it for it in found if isinstance(it, Pod) and addresses(it) and not has_ended(it)]
    named = {it.metadata.labels.get(SERVICE_NAME) for it in found if isinstance(it, EndpointSlice)}
    return [
        made
        for service in found
        if isinstance(service, Service)
        and service.metadata.name not in named
        and service.spec.type is not ServiceType.EXTERNAL_NAME
        for made in _slices(service, pods)
    ]


def _slices(service: Service, pods: list[Pod]) -> Iterator[EndpointSlice]:
    """One slice for each set of port numbers: a named port may differ from pod to pod."""
    selector = service.spec.selector
    if not selector:
        return
    alike: dict[Ports, list[Pod]] = defaultdict(list)
    for pod in pods:
        if selector.items() <= pod.metadata.labels.items():
            alike[_ports(service, pod)].append(pod)
    for index, (ports, members) in enumerate(alike.items()):
        yield _slice(service, ports, members, name=f"{service.metadata.name}-from-pods-{index}")


def _slice(service: Service, ports: Ports, pods: list[Pod], *, name: str) -> EndpointSlice:
    labels = {SERVICE_NAME: service.metadata.name, MANAGED_BY: AUTHOR}
    family = AddressType.IPV6 if ":" in addresses(pods[0])[0] else AddressType.IPV4
    return EndpointSlice(
        metadata=Metadata(name=name, namespace=service.metadata.namespace, labels=labels),
        address_type=family,
        ports=ports,
        endpoints=tuple(_endpoint(service, pod) for pod in pods),
    )


def _ports(service: Service, pod: Pod) -> Ports:
    """The service's ports as the pod has them; one that the pod does not have is left out."""
    named = ports_by_name(pod)
    numbers = ((port, _number(port, named)) for port in service.spec.ports)
    return tuple(
        SlicePort(name=port.name, port=number, protocol=port.protocol)
        for port, number in numbers
        if number is not None and port.protocol is Transport.TCP
    )


def _number(port: ServicePort, named: dict[str, int]) -> int | None:
    target = port.target_port or port.port
    return named.get(target) if isinstance(target, str) else target


def _endpoint(service: Service, pod: Pod) -> SliceEndpoint:
    serving, leaving = is_ready(pod), pod.metadata.deletion_timestamp is not None
    ready = service.spec.publish_not_ready_addresses or (serving and not leaving)
    return SliceEndpoint(
        addresses=addresses(pod)[:1],
        conditions=EndpointConditions(ready=ready, serving=serving, terminating=leaving),
        hostname=pod.spec.hostname,
        node_name=pod.spec.node_name,
        target_ref=ObjectReference("Pod", pod.metadata.name, pod.metadata.namespace),
    )
