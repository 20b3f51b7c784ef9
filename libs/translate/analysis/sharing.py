"""Sharing: one port of a workload that several Services speak of, and differently.

A sidecar has one inbound listener for each port of its workload, whoever leads there, so it can
take the port's protocol and number from one Service only: the oldest.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from libs.api import reasons
from libs.api.problem import Problem, Severity
from libs.model.ids import ServiceKey
from libs.model.service import Service, ServicePort
from libs.model.workload import Workload, WorkloadPort
from libs.translate.analysis.selectors import covers
from libs.translate.order import age
from libs.translate.state import State


class _Claim(NamedTuple):
    """A port of a Service that leads to a port of a workload."""

    service: Service
    path: str
    port: ServicePort


def services(state: State) -> Iterator[Problem]:
    """Yield ports of Services for which an older Service says something else of the target."""
    selecting: dict[str, list[Service]] = defaultdict(list)
    for service in sorted(state.mesh.services.values(), key=age):
        if service.selector and service.ref.startswith("Service/"):
            selecting[service.namespace].append(service)
    seen = set[tuple[tuple[ServiceKey, ...], tuple[WorkloadPort, ...]]]()
    for workload in state.mesh.workloads.values():
        mine = [
            it
            for it in selecting.get(workload.namespace, ())
            if covers(it.selector, workload, it.namespace)
        ]
        # Replicas have the same Services, and mostly the same named ports.
        kind = (tuple(it.key for it in mine), workload.ports)
        if len(mine) > 1 and kind not in seen:
            seen.add(kind)
            yield from _conflicts(mine, workload)


def _conflicts(services: Sequence[Service], workload: Workload) -> Iterator[Problem]:
    names = {port.name: port.number for port in workload.ports}
    for target, claims in _by_target(services, names).items():
        first, *others = claims
        for one in others:
            if one.service.key == first.service.key:
                continue
            both = f"port {target} of {workload.ref}"
            ref, path, severity = one.service.ref, one.path, Severity.WARNING
            if one.port.protocol is not first.port.protocol:
                text = f"{first.service.ref} is older and says {first.port.protocol} of {both}"
                yield Problem(ref, path, reasons.CONFLICTING_SERVICES, text, severity)
            elif one.port.number != first.port.number:
                text = f"{first.service.ref} is older and has {both} as {first.port.number}"
                yield Problem(ref, f"{path}.port", reasons.CONFLICTING_NUMBERS, text, severity)


def _by_target(services: Sequence[Service], names: Mapping[str, int]) -> dict[int, list[_Claim]]:
    found: dict[int, list[_Claim]] = defaultdict(list)
    for service in services:
        for index, port in enumerate(service.ports):
            target = port.target or port.number
            number = names.get(target, 0) if isinstance(target, str) else target
            if number:
                found[number].append(_Claim(service, f"spec.ports[{index}]", port))
    return found
