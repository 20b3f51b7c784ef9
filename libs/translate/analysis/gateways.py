"""Gateways: hosts that no server has, ports that no Service has, certificates named twice."""

from collections.abc import Iterator
from typing import cast

from libs.api import reasons
from libs.api.networking.virtual_service import VirtualService
from libs.api.problem import Problem, Severity
from libs.model import gateway as model
from libs.model.hosts import matches
from libs.model.ids import Ref
from libs.model.mesh import Mesh
from libs.model.service import Service
from libs.model.traffic import MESH_GATEWAY
from libs.model.workload import Workload
from libs.translate.analysis.selectors import covers
from libs.translate.names import Names
from libs.translate.order import age
from libs.translate.state import State

_CLAIM = "@request.auth.claims"


def missing_hosts(state: State) -> Iterator[Problem]:
    """Yield hosts of VirtualServices that a Gateway which they name has no server for."""
    gateways = {row.full_name: row for row in state.mesh.gateways.values()}
    for resource, names in _virtual_services(state):
        for written in resource.spec.gateways:
            gateway = gateways.get(names.gateway(written))
            for index, host in enumerate(resource.spec.hosts if gateway else ()):
                if gateway and not _serves(gateway, names.host(host), resource.metadata.namespace):
                    text = f"no server of {gateway.ref} is for the host {host}"
                    path, severity = f"spec.hosts[{index}]", Severity.WARNING
                    reason = reasons.HOST_NOT_AT_GATEWAY
                    yield Problem(resource.ref, path, reason, text, severity)


def _virtual_services(state: State) -> Iterator[tuple[VirtualService, Names]]:
    for resource in state.resources.get(VirtualService.__name__, {}).values():
        names = Names(resource.metadata.namespace, state.settings)
        yield cast("VirtualService", resource), names


def _serves(gateway: model.Gateway, host: str, namespace: str) -> bool:
    return any(
        one.namespace in {model.ANY_NAMESPACE, namespace}
        and (matches(one.name, host) or matches(host, one.name))
        for server in gateway.servers
        for one in server.hosts
    )


def ports(state: State) -> Iterator[Problem]:
    """Yield ports of servers that no Service of the gateway's workloads publishes."""
    for gateway in _own(state.mesh):
        members = _members(state.mesh, gateway)
        published = {
            number
            for service in state.mesh.services.values()
            for member in members
            if service.selector and covers(service.selector, member, service.namespace)
            for number in _numbers(service, member)
        }
        for index, server in enumerate(gateway.servers if published else ()):
            if server.number not in published and not server.bind.startswith("unix://"):
                text = f"no Service of the workloads of this Gateway has the port {server.number}"
                path, severity = f"spec.servers[{index}].port.number", Severity.WARNING
                yield Problem(gateway.ref, path, reasons.PORT_NOT_EXPOSED, text, severity)


def _own(mesh: Mesh) -> list[model.Gateway]:
    """The Gateways that are written as such, oldest first, and select somebody."""
    rows = [it for it in mesh.gateways.values() if it.ref.startswith("Gateway/") and it.selector]
    return sorted(rows, key=age)


def _members(mesh: Mesh, gateway: model.Gateway) -> list[Workload]:
    return [it for it in mesh.workloads.values() if covers(gateway.selector, it, "")]


def _numbers(service: Service, member: Workload) -> Iterator[int]:
    """The numbers of a service's ports, and those where they lead to."""
    named = {port.name: port.number for port in member.ports}
    for port in service.ports:
        yield port.number
        yield named.get(port.target, 0) if isinstance(port.target, str) else port.target


def certificates(state: State) -> Iterator[Problem]:
    """Yield credentials that an older Gateway with the same selector has too."""
    first: dict[tuple[object, str], Ref] = {}
    for gateway in _own(state.mesh):
        for index, server in enumerate(gateway.servers):
            for name in server.tls.credentials if server.tls else ():
                place = (frozenset(gateway.selector.items()), name)
                older = first.setdefault(place, gateway.ref)
                if older != gateway.ref:
                    text = (
                        f"{older} has the certificate {name!r} for the same workloads: browsers "
                        "that share a connection of HTTP/2 may get 404"
                    )
                    path, severity = f"spec.servers[{index}].tls", Severity.WARNING
                    yield Problem(gateway.ref, path, reasons.DUPLICATE_CERTIFICATE, text, severity)


def claims(state: State) -> Iterator[Problem]:
    """Yield matches of claims at gateways of whose workloads none verifies tokens."""
    gateways = {row.full_name: row for row in state.mesh.gateways.values()}
    for resource, names in _virtual_services(state):
        paths = list(_claim_matches(resource))
        named = {names.gateway(it) for it in resource.spec.gateways} - {MESH_GATEWAY}
        for name in sorted(named & gateways.keys()) if paths else ():
            members = _members(state.mesh, gateways[name])
            if members and not any(_verifies(state.mesh, it) for it in members):
                text = f"no RequestAuthentication is for the workloads of the Gateway {name}"
                for path in paths:
                    yield Problem(resource.ref, path, reasons.UNVERIFIED_CLAIMS, text)


def _claim_matches(resource: VirtualService) -> Iterator[str]:
    for index, rule in enumerate(resource.spec.http):
        for number, match in enumerate(rule.match):
            place = f"spec.http[{index}].match[{number}]"
            if any(name.startswith(_CLAIM) for name in match.headers):
                yield f"{place}.headers"
            if any(name.startswith(_CLAIM) for name in match.without_headers):
                yield f"{place}.withoutHeaders"


def _verifies(mesh: Mesh, workload: Workload) -> bool:
    root = mesh.settings.root_namespace
    return any(
        bool(policy.targets)
        or covers(policy.selector, workload, "" if policy.namespace == root else policy.namespace)
        for policy in mesh.token_policies.values()
    )
