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
from libs.model.ids import Ref
from libs.translate.groups import SERVICE_NAME
from libs.translate.workloads import addresses, has_ended, is_ready, ports_by_name

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
AUTHOR = "seine"

Ports = tuple[SlicePort, ...]


class PodIndex:
    """Pods by their labels, so that a service finds its own without looking at all."""

    def __init__(self) -> None:
        self._by_label: dict[tuple[str, str, str], dict[Ref, Pod]] = defaultdict(dict)

    def add(self, pod: Pod) -> None:
        """Add a pod."""
        for label in _labels(pod):
            self._by_label[label][pod.ref] = pod

    def remove(self, pod: Pod) -> None:
        """Remove a pod as it was added."""
        for label in _labels(pod):
            self._by_label[label].pop(pod.ref, None)

    def selected_by(self, service: Service) -> list[Pod]:
        """Return the pods that a service selects, ordered by reference; without a selector none."""
        selector, namespace = service.spec.selector, service.metadata.namespace
        if not selector:
            return []
        candidates = (self._by_label.get((namespace, *pair), {}) for pair in selector.items())
        fewest = min(candidates, key=len)
        return [
            fewest[ref]
            for ref in sorted(fewest)
            if selector.items() <= fewest[ref].metadata.labels.items()
        ]


def _labels(pod: Pod) -> Iterator[tuple[str, str, str]]:
    for name, value in pod.metadata.labels.items():
        yield pod.metadata.namespace, name, value


def slices(resources: Iterable[Resource]) -> list[EndpointSlice]:
    """Return the slices that services lack; `resources` are all of one namespace."""
    found = sorted(resources, key=lambda it: it.ref)
    named = {service_of(it) for it in found if isinstance(it, EndpointSlice)}
    pods = PodIndex()
    for pod in found:
        if isinstance(pod, Pod):
            pods.add(pod)
    return [
        made
        for service in found
        if isinstance(service, Service) and service.metadata.name not in named
        for made in slices_of(service, pods.selected_by(service))
    ]


def service_of(piece: EndpointSlice) -> str:
    """Return the name of the service that a slice is for; empty if it is for none."""
    return piece.metadata.labels.get(SERVICE_NAME, "")


def slices_of(service: Service, pods: Iterable[Pod]) -> list[EndpointSlice]:
    """Return the slices of a service, made of the pods that it selects.

    One for each set of port numbers: a named port may differ from pod to pod.
    """
    if service.spec.type is ServiceType.EXTERNAL_NAME:
        return []
    alike: dict[tuple[AddressType, Ports], list[tuple[Pod, str]]] = defaultdict(list)
    for pod in pods:
        for address in () if has_ended(pod) else _addresses(service, pod):
            alike[_family(address), _ports(service, pod)].append((pod, address))
    return [
        _slice(service, family, members, name=f"{service.metadata.name}-from-pods-{index}")
        for index, (family, members) in enumerate(alike.items())
    ]


def _addresses(service: Service, pod: Pod) -> tuple[str, ...]:
    """A pod's address in each family of the service, or its primary one."""
    own = addresses(pod)
    families = {_family(address) for address in service.spec.cluster_ips}
    if len(families) < 2:
        return own[:1]
    first = {_family(address): address for address in reversed(own)}
    return tuple(first[family] for family in sorted(first))


def _family(address: str) -> AddressType:
    return AddressType.IPV6 if ":" in address else AddressType.IPV4


def _slice(
    service: Service,
    alike: tuple[AddressType, Ports],
    pods: list[tuple[Pod, str]],
    *,
    name: str,
) -> EndpointSlice:
    labels = {SERVICE_NAME: service.metadata.name, MANAGED_BY: AUTHOR}
    family, ports = alike
    return EndpointSlice(
        metadata=Metadata(name=name, namespace=service.metadata.namespace, labels=labels),
        address_type=family,
        ports=ports,
        endpoints=tuple(_endpoint(service, pod, address) for pod, address in pods),
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


def _endpoint(service: Service, pod: Pod, address: str) -> SliceEndpoint:
    serving, leaving = is_ready(pod), pod.metadata.deletion_timestamp is not None
    ready = service.spec.publish_not_ready_addresses or (serving and not leaving)
    return SliceEndpoint(
        addresses=(address,),
        conditions=EndpointConditions(ready=ready, serving=serving, terminating=leaving),
        hostname=pod.spec.hostname if pod.spec.subdomain == service.metadata.name else "",
        node_name=pod.spec.node_name,
        target_ref=ObjectReference("Pod", pod.metadata.name, pod.metadata.namespace),
    )
