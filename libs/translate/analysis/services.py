"""Services: ports of which nobody said what they speak, or two said different things."""

from collections.abc import Iterator
from typing import cast

from libs.api import kubernetes, reasons
from libs.api.kubernetes import ServiceType, Transport
from libs.api.networking.service_entry import ServiceEntry
from libs.api.problem import Problem, Severity
from libs.model.ids import Ref
from libs.model.service import Protocol
from libs.translate import protocols as by_port
from libs.translate.service_entries import hosts_of
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
    found = state.resources.get(ServiceEntry.__name__, {}).values()
    for entry in sorted((cast("ServiceEntry", it) for it in found), key=_age):
        for host in hosts_of(entry):
            for index, port in enumerate(entry.spec.ports):
                said = by_port.of_name(port.protocol)
                older = first.setdefault((host, port.number), (entry.ref, said))
                if older[1] is not said and older[0] != entry.ref:
                    text = f"{older[0]} says {older[1]} of port {port.number} of {host}"
                    path, severity = f"spec.ports[{index}].protocol", Severity.WARNING
                    yield Problem(entry.ref, path, reasons.CONFLICTING_PROTOCOL, text, severity)


def _age(entry: ServiceEntry) -> tuple[int, str, str]:
    metadata = entry.metadata
    return metadata.creation_timestamp or 0, metadata.name, metadata.namespace
