"""Services: ports of which nobody said what they speak, or two said different things."""

from collections.abc import Iterator
from typing import cast

from libs.api import kubernetes, reasons
from libs.api.kubernetes import ServiceType, Transport
from libs.api.problem import Problem, Severity
from libs.model.ids import Ref
from libs.model.service import Protocol
from libs.translate import protocols as by_port
from libs.translate.order import age
from libs.translate.state import State

_SYSTEM = frozenset({"kube-system", "kube-public", "kube-node-lease"})


def names(state: State) -> Iterator[Problem]:
    """Yield ports of Kubernetes Services of which the protocol has to be guessed."""
    for found in state.resources.get(kubernetes.Service.__name__, {}).values():
        resource = cast("kubernetes.Service", found)
        if resource.metadata.namespace in _SYSTEM | {state.settings.root_namespace}:
            continue
        alias = resource.spec.type is ServiceType.EXTERNAL_NAME
        reason = reasons.UNCLEAR_ALIAS_PORT if alias else reasons.UNCLEAR_PROTOCOL
        for index, port in enumerate(resource.spec.ports):
            if port.protocol is Transport.TCP and by_port.of_port(port) is Protocol.AUTO:
                text = (
                    f"port {port.port} is detected anew for each connection: name it http-…, tcp-… "
                )
                text += "or set appProtocol"
                path = f"spec.ports[{index}].name"
                yield Problem(resource.ref, path, reason, text, Severity.WARNING)


def protocols(state: State) -> Iterator[Problem]:
    """Yield ports of ServiceEntries for which an older one of the host has another protocol."""
    first: dict[tuple[str, int], tuple[Ref, Protocol]] = {}
    external = (it for it in state.mesh.services.values() if it.ref.startswith("ServiceEntry/"))
    for service in sorted(external, key=age):
        for index, port in enumerate(service.ports):
            older = first.setdefault((service.host, port.number), (service.ref, port.protocol))
            if older[1] is not port.protocol and older[0] != service.ref:
                text = f"{older[0]} says {older[1]} of port {port.number} of {service.host}"
                path, severity = f"spec.ports[{index}].protocol", Severity.WARNING
                yield Problem(service.ref, path, reasons.CONFLICTING_PROTOCOL, text, severity)
