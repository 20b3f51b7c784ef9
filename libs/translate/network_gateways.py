"""Gateways of networks: Services at which a network is entered, by label or by `meshNetworks`.

Where a Service is reached from outside the cluster: at its load balancer, at its external
addresses, or, if it is a NodePort that is annotated for it, at the external addresses of the nodes
that the annotation selects, on the node's port. A Service with none of them is no gateway yet.
"""

import json
from collections.abc import Iterator
from typing import NamedTuple

from libs.api import reasons
from libs.api.kubernetes import Node, Service, ServiceType
from libs.api.problem import Problem, Severity
from libs.model.mesh import Key, Table
from libs.model.networks import NetworkGateway, Networks
from libs.translate import networks
from libs.translate.groups import Group
from libs.translate.services import host_of
from libs.translate.state import Derived
from libs.translate.view import View

PORT_LABEL = "networking.istio.io/gatewayPort"
NODES = "traffic.istio.io/nodeSelector"
DEFAULT_PORT = 15443

_EXTERNAL = "ExternalIP"
_MAX_PORT = 65535


class _Role(NamedTuple):
    """Of which network a Service is a gateway, and at which of its ports."""

    network: str
    port: int


def derive(view: View, service: Service) -> Derived:
    """Return the gateways that a Service is; mostly none."""
    problems: list[Problem] = []
    roles = list(_roles(view, service, problems))
    if not roles:
        return Derived()
    reached = list(_reached(view, service, problems))
    if not reached:
        text = "has no address outside the cluster: as a gateway of its network nobody reaches it"
        problems.append(_problem(service, "status.loadBalancer", text))
    found = {
        networks.in_order(gateway): gateway
        for address in reached
        for gateway in _gateways(view, service, address, roles=roles, problems=problems)
    }
    row = Networks(ref=service.ref, gateways=tuple(found[key] for key in sorted(found)))
    rows = ((Key(Table.NETWORKS, row.ref), row),) if found else ()
    return Derived(rows=rows, problems=tuple(problems))


def _gateways(
    view: View, service: Service, address: str, *, roles: list[_Role], problems: list[Problem]
) -> Iterator[NetworkGateway]:
    addresses, fault = networks.addresses_of(view, address)
    if fault:
        problems.append(_problem(service, "status.loadBalancer", f"{fault}: nobody goes there"))
    ports = _node_ports(service)
    for role in roles:
        yield NetworkGateway(
            network=role.network,
            address=address,
            port=ports.get(role.port, role.port),
            addresses=addresses,
            of_service=True,
        )


def _roles(view: View, service: Service, problems: list[Problem]) -> Iterator[_Role]:
    """Yield by the label, or else by what `meshNetworks` says."""
    labels = service.metadata.labels
    if network := labels.get(networks.LABEL):
        yield _Role(network, _port(service, problems))
        return
    written = networks.written_of(view)
    if written is not None and written.services:
        host = host_of(service, view.settings)
        yield from (_Role(it.network, it.port) for it in written.services if it.host == host)


def _port(service: Service, problems: list[Problem]) -> int:
    text = service.metadata.labels.get(PORT_LABEL, "")
    if not text:
        return DEFAULT_PORT
    if text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_PORT:
        return int(text)
    said = f"{text[:63]!r} is not a port: {DEFAULT_PORT} is taken for the gateway of the network"
    path = f"metadata.labels[{PORT_LABEL}]"
    problems.append(
        Problem(service.ref, path, reasons.INVALID_PORT, said, severity=Severity.WARNING)
    )
    return DEFAULT_PORT


def _is_of_nodes(service: Service) -> bool:
    return service.spec.type is ServiceType.NODE_PORT and NODES in service.metadata.annotations


def _node_ports(service: Service) -> dict[int, int]:
    """The ports of nodes by those of the service; only where nodes are how it is reached."""
    if not _is_of_nodes(service):
        return {}
    return {port.port: port.node_port for port in service.spec.ports if port.node_port}


def _reached(view: View, service: Service, problems: list[Problem]) -> Iterator[str]:
    """Yield the addresses and names under which a Service is reached from outside."""
    spec, balancer = service.spec, service.status.load_balancer
    entered = balancer.ingress if spec.type is ServiceType.LOAD_BALANCER else ()
    found = [*(it.ip or it.hostname for it in entered if it.ip or it.hostname), *spec.external_ips]
    if found or not _is_of_nodes(service):
        yield from found
        return
    wanted = _selector(service, problems).items()
    for node in view.resources(Node, Group.NODES, ""):
        if wanted <= node.metadata.labels.items():
            external = (it.address for it in node.status.addresses if it.type == _EXTERNAL)
            yield from [address for address in external if address][:1]


def _selector(service: Service, problems: list[Problem]) -> dict[str, str]:
    """Return the labels of nodes; of none, if the annotation is empty or cannot be read."""
    text = service.metadata.annotations[NODES]
    if not text:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()):
        return found
    said = "is not a mapping of labels in JSON: every node is taken, as with Istio"
    path = f"metadata.annotations[{NODES}]"
    problems.append(
        Problem(service.ref, path, reasons.INVALID_VALUE, said, severity=Severity.WARNING)
    )
    return {}


def _problem(service: Service, path: str, text: str) -> Problem:
    return Problem(service.ref, path, reasons.NO_EFFECT, text, severity=Severity.WARNING)
