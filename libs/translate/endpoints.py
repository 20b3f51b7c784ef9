"""Endpoints: one row for each Kubernetes Service that has endpoint slices, all of them merged.

Others find the set by the ServiceKey. An endpoint stands for a pod, and takes its labels, account
and place from it; until that pod is there and ready, the endpoint is left out. Endpoints without a
pod (a database outside the cluster) are taken as they are written. Machines that a WorkloadEntry
describes stand beside the pods.
What becomes of unhealthy endpoints is not decided here.
"""

from collections.abc import Iterator, Mapping
from typing import cast

from msgspec.structs import replace

from libs.api.kubernetes import AddressType, EndpointSlice, SliceEndpoint, Transport
from libs.api.kubernetes import Service as KubernetesService
from libs.model.endpoint import Endpoint, EndpointSet, Health
from libs.model.ids import service_key, workload_key
from libs.model.mesh import Key, Table
from libs.model.service import Resolution, Service
from libs.model.workload import Workload
from libs.proxy import sessions
from libs.translate import networks
from libs.translate.entry_endpoints import of_workload
from libs.translate.groups import Group
from libs.translate.selection import selected, unresolved
from libs.translate.services import host_of
from libs.translate.state import Derived
from libs.translate.view import View

_PREFERENCE: Mapping[Health, int] = {Health.HEALTHY: 0, Health.DRAINING: 1, Health.UNHEALTHY: 2}


_Found = dict[tuple[str, str, int, str], Endpoint]


def derive(view: View, service: KubernetesService) -> Derived:
    """Return the endpoints of a service, without duplicates and in order."""
    metadata = service.metadata
    key = service_key(metadata.namespace, host_of(service, view.settings))
    row = cast("Service | None", view.row(Table.SERVICE, key))
    if row is None or row.resolution is Resolution.ALIAS:
        return Derived()
    slices = view.resources(EndpointSlice, Group.SLICES, f"{metadata.namespace}/{metadata.name}")
    machines = selected(view, row.namespace, row.selector, group=Group.ENTRIES)
    if not slices and not machines:
        return Derived()
    found: _Found = {}
    for endpoint in (*_endpoints(view, row, slices), *_machines(view, row, machines)):
        _keep_healthier(found, endpoint)
    merged = EndpointSet(
        key=key,
        refs=(*(it.ref for it in slices), *(it.ref for it in machines)),
        endpoints=tuple(found[place] for place in sorted(found)),
    )
    problems = tuple(unresolved(machines, row.host))
    return Derived(rows=((Key(Table.ENDPOINTS, key), merged),), problems=problems)


def _keep_healthier(found: _Found, endpoint: Endpoint) -> None:
    """An endpoint is in two slices while a controller moves it from one to the other."""
    known = found.get(endpoint.place)
    if known is None or _PREFERENCE[endpoint.health] < _PREFERENCE[known.health]:
        found[endpoint.place] = endpoint


def _endpoints(view: View, service: Service, slices: list[EndpointSlice]) -> Iterator[Endpoint]:
    for piece in slices:
        if piece.address_type is AddressType.FQDN:
            continue
        ports = _ports(service, piece)
        for written in piece.endpoints:
            health = _health(service, written)
            for base in _bases(view, service, written) if health is not None else ():
                for name, number in ports:
                    yield replace(base, port=number, port_name=name, health=health)


def _machines(view: View, service: Service, machines: list[Workload]) -> Iterator[Endpoint]:
    """The machines that the selector covers beside pods; a WorkloadEntry names its own ports."""
    for workload in machines:
        for port in service.ports if workload.ready or service.publish_not_ready else ():
            numbers = (port.name, port.target, port.number)
            yield from of_workload(view, workload, port, numbers)


def _ports(service: Service, piece: EndpointSlice) -> list[tuple[str, int]]:
    """The slice's ports that are ports of the service; they have its names."""
    names = {port.name for port in service.ports}
    return [
        (port.name, port.port)
        for port in piece.ports
        if port.port is not None and port.protocol is Transport.TCP and port.name in names
    ]


def _health(service: Service, endpoint: SliceEndpoint) -> Health | None:
    """None: the endpoint is on its way out and gets nothing new."""
    conditions = endpoint.conditions
    if conditions.ready is None or conditions.ready:
        return Health.HEALTHY
    if not conditions.terminating:
        return Health.UNHEALTHY
    serving = conditions.serving is None or conditions.serving
    return Health.DRAINING if serving and sessions.kept(service) else None


def _bases(view: View, service: Service, written: SliceEndpoint) -> Iterator[Endpoint]:
    """The endpoint at each of its addresses, its port still open."""
    target = written.target_ref
    for address in written.addresses:
        if target is None or target.kind != "Pod":
            yield _base(view, address, written, _at_address(view, service, address))
            continue
        key = workload_key(target.namespace or service.namespace, target.name)
        workload = cast("Workload | None", view.row(Table.WORKLOAD, key))
        if workload is not None and (workload.ready or service.publish_not_ready):
            yield _base(view, address, written, workload)


def _at_address(view: View, service: Service, address: str) -> Workload | None:
    """The ready workload of the service's namespace that has this address, if there is one."""
    place = f"{service.namespace}/{address}"
    found = cast("list[Workload]", view.rows(Table.WORKLOAD, Group.WORKLOADS, place))
    return next((workload for workload in found if workload.ready), None)


def _base(  # noqa: PLR0917 - what is known of one address
    view: View, address: str, written: SliceEndpoint, workload: Workload | None
) -> Endpoint:
    network = networks.of_endpoint(view, workload, address)
    if workload is None:
        return Endpoint(
            address=address,
            port=0,
            port_name="",
            node=written.node_name,
            network=network,
            hostname=written.hostname,
        )
    return Endpoint(
        address=address,
        port=0,
        port_name="",
        workload=workload.key,
        workload_name=workload.workload_name,
        labels=workload.labels,
        service_account=workload.service_account,
        namespace=workload.namespace,
        mtls=workload.mtls,
        locality=workload.locality,
        node=written.node_name or workload.node,
        network=network,
        hostname=written.hostname,
    )
