"""Selectors: what selects nobody, nobody with a proxy, or those whom another resource has."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from libs.api import reasons
from libs.api.problem import Problem, Severity
from libs.model.hosts import is_wildcard
from libs.model.ids import Ref
from libs.model.mesh import Mesh
from libs.model.service import Service
from libs.model.workload import Workload
from libs.translate.order import age
from libs.translate.state import State


class _Selection(NamedTuple):
    """What a resource selects, and the field that says so."""

    ref: Ref
    namespace: str
    selector: Mapping[str, str]
    path: str


def idle(state: State) -> Iterator[Problem]:
    """Yield selectors that no workload carries the labels of."""
    root = state.settings.root_namespace
    for one in _selections(state.mesh):
        everywhere = one.namespace == root or one.ref.startswith("Gateway/")
        if not any(
            covers(one.selector, it, "" if everywhere else one.namespace)
            for it in state.mesh.workloads.values()
        ):
            labels = ", ".join(f"{key}={value}" for key, value in sorted(one.selector.items()))
            where = "in the mesh" if everywhere else f"in namespace {one.namespace}"
            text = f"no workload {where} is labelled {labels}"
            severity = Severity.WARNING
            yield Problem(one.ref, one.path, reasons.SELECTS_NOTHING, text, severity)


def unheard(state: State) -> Iterator[Problem]:
    """Yield policies for workloads of which none has a proxy that could follow them.

    While no workload at all is known to have one, nothing is said: proxies may come later.
    """
    root, every = state.settings.root_namespace, list(state.mesh.workloads.values())
    if not any(map(_has_proxy, every)):
        return
    for one in _selections(state.mesh):
        if one.ref.startswith("Gateway/"):
            continue
        namespace = "" if one.namespace == root else one.namespace
        chosen = [it for it in every if covers(one.selector, it, namespace)]
        if chosen and not any(map(_has_proxy, chosen)):
            text = f"nobody follows it: {chosen[0].ref} has no proxy"
            text += ", nor any other of its workloads" if len(chosen) > 1 else ""
            reason, severity = reasons.POLICY_WITHOUT_PROXY, Severity.WARNING
            yield Problem(one.ref, one.path, reason, text, severity)


def _has_proxy(workload: Workload) -> bool:
    return workload.mtls or workload.router or workload.entry


def covers(selector: Mapping[str, str], workload: Workload, namespace: str) -> bool:
    """Tell whether a selector covers a workload of a namespace; an empty one is any."""
    return (not namespace or workload.namespace == namespace) and (
        selector.items() <= workload.labels.items()
    )


def _selections(mesh: Mesh) -> Iterator[_Selection]:
    for rows, path in (
        (mesh.access_policies, "spec.selector.matchLabels"),
        (mesh.peer_policies, "spec.selector.matchLabels"),
        (mesh.token_policies, "spec.selector.matchLabels"),
        (mesh.telemetry, "spec.selector.matchLabels"),
        (mesh.extensions, "spec.selector.matchLabels"),
        (mesh.patches, "spec.workloadSelector.labels"),
        (mesh.sidecars, "spec.workloadSelector.labels"),
        (mesh.gateways, "spec.selector"),
    ):
        for row in rows.values():
            if row.selector and row.ref.partition("/")[0] != "Ingress":
                yield _Selection(row.ref, row.namespace, row.selector, path)


def several(state: State) -> Iterator[Problem]:
    """Yield Sidecars and Telemetries of which one workload could only have one."""
    workloads = list(state.mesh.workloads.values())
    for rows, path in (
        (state.mesh.sidecars, "spec.workloadSelector"),
        (state.mesh.telemetry, "spec.selector"),
    ):
        wide: dict[str, list[Ref]] = defaultdict(list)
        narrow: list[_Selection] = []
        for row in sorted(rows.values(), key=age):
            if row.selector:
                narrow.append(_Selection(row.ref, row.namespace, row.selector, path))
            elif not getattr(row, "targets", ()):
                wide[row.namespace].append(row.ref)
        yield from _defaults(wide)
        yield from _overlaps(narrow, workloads)


def _defaults(wide: Mapping[str, list[Ref]]) -> Iterator[Problem]:
    for namespace, refs in wide.items():
        for ref in refs[1:]:
            text = f"{refs[0]} is older and already for all workloads of namespace {namespace}"
            yield Problem(ref, "spec", reasons.SEVERAL_DEFAULTS, text)


def _overlaps(narrow: list[_Selection], workloads: list[Workload]) -> Iterator[Problem]:
    for index, one in enumerate(narrow):
        mine = [it for it in workloads if covers(one.selector, it, one.namespace)]
        for older in narrow[:index]:
            both = [it for it in mine if covers(older.selector, it, older.namespace)]
            if both:
                text = f"{older.ref} is older and also selects {both[0].ref}"
                yield Problem(one.ref, one.path, reasons.SHARED_SELECTOR, text)


def subsets(state: State) -> Iterator[Problem]:
    """Yield subsets of hosts in the mesh that have no member."""
    hosts: dict[str, list[Service]] = defaultdict(list)
    for service in state.mesh.services.values():
        hosts[service.host].append(service)
    for policy in state.mesh.host_policies.values():
        services = [it for it in hosts[policy.host] if it.selector]
        if is_wildcard(policy.host) or not services:
            continue
        for index, subset in enumerate(policy.subsets):
            if subset.labels and not any(_has(state.mesh, it, subset.labels) for it in services):
                text = f"no workload of {policy.host} is in the subset {subset.name!r}"
                path = f"spec.subsets[{index}].labels"
                yield Problem(policy.ref, path, reasons.EMPTY_SUBSET, text)


def _has(mesh: Mesh, service: Service, labels: Mapping[str, str]) -> bool:
    wanted = {**service.selector, **labels}
    return any(
        covers(wanted, it, service.namespace) and covers(service.selector, it, service.namespace)
        for it in mesh.workloads.values()
    )
