"""Endpoints of service entries: one row for each host that has a list of them.

They are written in the entry, or are the workloads that it selects, pods and WorkloadEntries alike.
A host that DNS resolves and that lists none is its own endpoint. Addresses that are names stay
names here: whether DNS or the control plane finds them is the service's resolution.
"""

from collections.abc import Iterable, Iterator
from typing import cast

from msgspec.structs import replace

from libs.api import reasons
from libs.api.networking.service_entry import Resolution as Written
from libs.api.networking.service_entry import ServiceEntry
from libs.api.networking.workload_entry import WorkloadEntrySpec
from libs.api.problem import Problem, Severity
from libs.model.endpoint import Endpoint, EndpointSet
from libs.model.ids import Ref, service_key
from libs.model.mesh import Key, Table
from libs.model.service import Protocol, Resolution, Service, ServicePort
from libs.model.workload import Workload
from libs.translate import networks, workload_entries
from libs.translate.groups import Group
from libs.translate.selection import selected, unresolved
from libs.translate.service_entries import declarers, hosts_of
from libs.translate.state import Derived
from libs.translate.view import View

UNIX = "unix://"
_LISTED = frozenset({Resolution.ENDPOINTS, Resolution.DNS, Resolution.DNS_ROUND_ROBIN})
_NAMED = _LISTED - {Resolution.ENDPOINTS}


def derive(view: View, entry: ServiceEntry) -> Derived:
    """Return the endpoints of an entry's hosts."""
    metadata = entry.metadata
    keys = [service_key(metadata.namespace, host, metadata.name) for host in hosts_of(entry)]
    rows = [cast("Service | None", view.row(Table.SERVICE, key)) for key in keys]
    found = (_merged(view, entry, row) for row in rows if row and row.resolution in _LISTED)
    return Derived(
        rows=tuple((Key(Table.ENDPOINTS, made.key), made) for made in found),
        problems=(*_unreachable(view, entry), *_unresolved(view, entry)),
    )


def _unresolved(view: View, entry: ServiceEntry) -> Iterator[Problem]:
    selector = entry.spec.workload_selector
    if selector is not None and entry.spec.resolution is Written.STATIC:
        namespace = entry.metadata.namespace
        machines = selected(view, namespace, selector.labels, group=Group.ENTRIES)
        yield from unresolved(machines, entry.spec.hosts[0])


def _unreachable(view: View, entry: ServiceEntry) -> Iterator[Problem]:
    for index, written in enumerate(entry.spec.endpoints or ()):
        text = workload_entries.without_way(view, written)
        if text:
            path = f"spec.endpoints[{index}].address"
            yield Problem(entry.ref, path, reasons.NO_EFFECT, text, severity=Severity.WARNING)


def of_workload(  # noqa: PLR0917 - who, behind what
    view: View, workload: Workload, port: ServicePort, numbers: Iterable[int | str]
) -> Iterator[Endpoint]:
    """Yield a workload's endpoint behind a service's port.

    `numbers` are its own ports in order of preference: names are looked up, 0 is left out. An entry
    whose address nobody knows is somewhere in its network.
    """
    named = {one.name: one.number for one in workload.ports}
    known = (named.get(it, 0) if isinstance(it, str) else it for it in numbers)
    number = next(filter(None, known), 0)
    unknown = ("",) if workload.entry and workload.network else ()
    for address in (workload.addresses[:1] or unknown) if number else ():
        yield Endpoint(
            address=address,
            port=0 if address.startswith(UNIX) else number,
            port_name=port.name,
            workload=workload.key,
            workload_name=workload.workload_name,
            labels=workload.labels,
            service_account=workload.service_account,
            namespace=workload.namespace,
            mtls=workload.mtls,
            locality=workload.locality,
            node=workload.node,
            network=networks.of_endpoint(view, workload, address),
            weight=workload.weight,
        )


def _merged(view: View, entry: ServiceEntry, service: Service) -> EndpointSet:
    """Return the endpoints that all entries give which declare the service together."""
    entries = declarers(view, entry, service.host)
    if len(entries) < 2:
        return _set(view, entry, service)
    found: dict[tuple[str, str, int, str], Endpoint] = {}
    single, refs = service.resolution is Resolution.DNS_ROUND_ROBIN, list[Ref]()
    for one in entries:
        own = {port.number for port in one.spec.ports}
        ports = tuple(port for port in service.ports if port.number in own)
        made = _set(view, one, replace(service, ports=ports))
        taken = {name for name, *_ in found} if single else set[str]()
        for it in made.endpoints:
            if it.port_name not in taken:
                found.setdefault(it.place, it)
        refs += made.refs
    ordered = tuple(found[place] for place in sorted(found))
    others = (one.ref for one in entries[1:])
    return EndpointSet(key=service.key, refs=(*refs, *others), endpoints=ordered)


def _set(view: View, entry: ServiceEntry, service: Service) -> EndpointSet:
    refs: tuple[Ref, ...] = ()
    if entry.spec.workload_selector is not None:
        namespace, selector = service.namespace, service.selector
        members = selected(view, namespace, selector, group=Group.LABELLED)
        ready = [workload for workload in members if workload.ready]
        refs = tuple(workload.ref for workload in ready if workload.entry)
        found = [it for port in service.ports for one in ready for it in _selected(view, one, port)]
    elif entry.spec.endpoints:
        written = entry.spec.endpoints
        found = [
            it for port in service.ports for one in written for it in _written(one, port, service)
        ]
    else:
        found = list(_itself(service))
    ordered = sorted(found, key=lambda it: it.place)
    return EndpointSet(key=service.key, refs=refs, endpoints=tuple(ordered))


def _selected(view: View, workload: Workload, port: ServicePort) -> Iterator[Endpoint]:
    # A pod's ports are not its own choice here: names of containers' ports do not count.
    own = (port.name,) if workload.entry else ()
    yield from of_workload(view, workload, port, (*own, port.target, port.number))


def _written(spec: WorkloadEntrySpec, port: ServicePort, service: Service) -> Iterator[Endpoint]:
    if port.protocol is Protocol.UDP or not (spec.address or spec.network):
        return
    number = spec.ports.get(port.name) or cast("int", port.target) or port.number
    yield Endpoint(
        address=spec.address,
        port=0 if spec.address.startswith(UNIX) else number,
        port_name=port.name,
        labels=spec.labels,
        service_account=spec.service_account,
        namespace=service.namespace,
        mtls=workload_entries.has_sidecar(spec),
        locality=workload_entries.locality(spec),
        network=spec.network,
        weight=spec.weight or 1,
    )


def _itself(service: Service) -> Iterator[Endpoint]:
    if service.resolution in _NAMED:
        for port in service.ports:
            number = cast("int", port.target) or port.number
            yield Endpoint(
                address=service.host,
                port=number,
                port_name=port.name,
                namespace=service.namespace,
            )
