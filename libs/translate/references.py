"""References: what a VirtualService refers to, and who else routes its hosts.

A reference that leads nowhere is a problem of the resource that makes it, until what it names
appears. The resource is used all the same, as in Istio: its other routes work.
"""

from collections.abc import Iterator
from typing import NamedTuple, cast

from libs.api import reasons
from libs.api.networking import virtual_service as api
from libs.api.problem import Problem, Severity
from libs.model.hosts import is_wildcard
from libs.model.ids import ref
from libs.model.mesh import Table
from libs.model.service import Resolution, Service
from libs.model.traffic import MESH_GATEWAY, Destination, HostPolicy, Routing
from libs.translate.groups import Group
from libs.translate.http_routes import destination
from libs.translate.names import Names
from libs.translate.order import age
from libs.translate.state import Derived
from libs.translate.view import View


class _Reference(NamedTuple):
    """A destination, and where in the resource it is written."""

    path: str
    to: Destination


class _Fault(NamedTuple):
    field: str
    reason: str
    text: str
    severity: Severity = Severity.ERROR


def check(view: View, resource: api.VirtualService) -> Derived:
    """Return the problems of a VirtualService's destinations and hosts."""
    names = Names(resource.metadata.namespace, view.settings)
    problems = [
        Problem(resource.ref, f"{path}.{fault.field}", fault.reason, fault.text, fault.severity)
        for path, to in _references(resource.spec, names)
        for fault in _faults(view, to, resource.metadata.namespace)
    ]
    missing = _missing_gateways(view, resource, names)
    return Derived(problems=(*problems, *missing, *_conflicts(view, resource, names)))


def _missing_gateways(view: View, resource: api.VirtualService, names: Names) -> Iterator[Problem]:
    for index, written in enumerate(resource.spec.gateways):
        name = names.gateway(written)
        if name != MESH_GATEWAY and not view.row(
            Table.GATEWAY, ref("Gateway", *name.split("/", 1))
        ):
            text = f"there is no Gateway {name}: nothing of this is served there"
            yield Problem(resource.ref, f"spec.gateways[{index}]", reasons.GATEWAY_NOT_FOUND, text)


def _references(spec: api.VirtualServiceSpec, names: Names) -> Iterator[_Reference]:
    for place, written in _destinations(spec):
        yield _Reference(place, destination(written, names))


def _destinations(spec: api.VirtualServiceSpec) -> Iterator[tuple[str, api.Destination]]:
    for index, rule in enumerate(spec.http):
        place = f"spec.http[{index}]"
        for number, share in enumerate(rule.route):
            yield f"{place}.route[{number}].destination", share.destination
        if rule.mirror:
            yield f"{place}.mirror", rule.mirror
        for number, mirror in enumerate(rule.mirrors):
            yield f"{place}.mirrors[{number}].destination", mirror.destination
    streams = [(f"spec.tls[{index}]", rule.route) for index, rule in enumerate(spec.tls)]
    streams += [(f"spec.tcp[{index}]", rule.route) for index, rule in enumerate(spec.tcp)]
    for place, targets in streams:
        for number, target in enumerate(targets):
            yield f"{place}.route[{number}].destination", target.destination


def _faults(view: View, to: Destination, namespace: str) -> Iterator[_Fault]:
    service = _service(view, to.host)
    if service is None:
        yield _Fault("host", reasons.HOST_NOT_FOUND, _no_host(view, to.host, namespace))
        return
    yield from _port_faults(service, to)
    if to.subset and not _has_subset(view, service, to.subset, namespace=namespace):
        text = f"no DestinationRule for {service.host} has a subset {to.subset!r}"
        yield _Fault("subset", reasons.SUBSET_NOT_FOUND, text)


def _service(view: View, host: str) -> Service | None:
    """The service of a host; an alias counts as what it stands for, if that is in the mesh."""
    found = cast("list[Service]", view.rows(Table.SERVICE, Group.SERVICES, host))
    service = found[0] if found else None
    if service is None or service.resolution is not Resolution.ALIAS:
        return service
    concrete = cast("list[Service]", view.rows(Table.SERVICE, Group.SERVICES, service.alias_of))
    return next((it for it in concrete if it.resolution is not Resolution.ALIAS), None)


def _no_host(view: View, host: str, namespace: str) -> str:
    alias = cast("list[Service]", view.rows(Table.SERVICE, Group.SERVICES, host))
    if alias:
        return f"{host} is an ExternalName of {alias[0].alias_of}, which is not in the mesh"
    text = f"there is no service {host}"
    near = f"{host}.svc.{view.settings.cluster_domain}"
    if view.rows(Table.SERVICE, Group.SERVICES, near):
        return f"{text}; only names without a dot are expanded, write {near}"
    return text


def _port_faults(service: Service, to: Destination) -> Iterator[_Fault]:
    numbers = ", ".join(str(port.number) for port in service.ports)
    if to.port and service.port(to.port) is None:
        text = f"{service.host} has no port {to.port}, only {numbers or 'none'}"
        yield _Fault("port.number", reasons.PORT_NOT_FOUND, text)
    elif not to.port and len(service.ports) > 1:
        text = f"{service.host} has ports {numbers}; without one, that of the listener is used"
        yield _Fault("port", reasons.PORT_AMBIGUOUS, text, Severity.WARNING)


def _has_subset(view: View, service: Service, subset: str, *, namespace: str) -> bool:
    """Whether a policy for the host that some client could go by has the subset."""
    owners = {namespace, service.namespace, view.settings.root_namespace}
    return any(
        policy.namespace in owners and any(it.name == subset for it in policy.subsets)
        for pattern in _patterns(service.host)
        for policy in cast(
            "list[HostPolicy]", view.rows(Table.HOST_POLICY, Group.HOST_POLICIES, pattern)
        )
    )


def _patterns(host: str) -> Iterator[str]:
    """The host itself, and every wildcard that covers it."""
    yield host
    yield from ("*" + host[index:] for index, letter in enumerate(host) if letter == ".")
    yield "*"


def _conflicts(view: View, resource: api.VirtualService, names: Names) -> Iterator[Problem]:
    """Sidecars give a host to the oldest routing alone."""
    own = cast("Routing | None", view.row(Table.ROUTING, resource.ref))
    if own is None:
        return
    for index, written in enumerate(resource.spec.hosts):
        host = names.host(written)
        rivals = cast("list[Routing]", view.rows(Table.ROUTING, Group.ROUTINGS, host))
        older = [it for it in rivals if age(it) < age(own) and _share_clients(it, own)]
        if own in rivals and older:
            winner = min(older, key=age)
            kind = "hosts that match" if is_wildcard(host) else "host"
            text = f"{winner.ref} is older and routes the {kind} {host} for sidecars"
            path = f"spec.hosts[{index}]"
            yield Problem(own.ref, path, reasons.CONFLICTING_HOST, text)


def _share_clients(one: Routing, other: Routing) -> bool:
    """Whether a sidecar could see both."""
    first, second = _audience(one), _audience(other)
    return bool(first and second) and ("*" in first | second or bool(first & second))


def _audience(routing: Routing) -> frozenset[str]:
    """The namespaces whose proxies see a routing; `*` for all of them."""
    written = routing.export_to or ("*",)
    own = {routing.namespace if it == "." else it for it in written if it != "~"}
    return frozenset(own)
