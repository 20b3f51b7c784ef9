"""Workloads: one row for each Pod that has not ended.

Others find a workload by its WorkloadKey or by one of its addresses. A pod that is not ready has a
row all the same: its proxy is already asking for configuration. Whether it gets traffic is decided
in `endpoints`.
"""

import re

from libs.api.kubernetes import Node, Phase, Pod, Transport
from libs.model.endpoint import Locality
from libs.model.ids import workload_key
from libs.model.mesh import Key, Table
from libs.model.workload import Workload, WorkloadPort
from libs.translate import networks
from libs.translate.state import Derived
from libs.translate.view import View

TLS_MODE = "security.istio.io/tlsMode"
TEMPLATES = "inject.istio.io/templates"
LOCALITY = "istio-locality"
SUBZONE = "topology.istio.io/subzone"
REGIONS = ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")
ZONES = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
TEMPLATE_HASHES = ("pod-template-hash", "rollouts-pod-template-hash")

_CRON_JOB_RUN = re.compile(r"(.+)-\d{8,10}")
_ENDED = frozenset({Phase.SUCCEEDED, Phase.FAILED})


def derive(view: View, pod: Pod) -> Derived:
    """Return the row of a pod; none if it has ended."""
    if has_ended(pod):
        return Derived()
    row = _row(view, pod)
    return Derived(rows=((Key(Table.WORKLOAD, row.key), row),))


def _row(view: View, pod: Pod) -> Workload:
    metadata, spec = pod.metadata, pod.spec
    found = addresses(pod)
    return Workload(
        key=workload_key(metadata.namespace, metadata.name),
        ref=pod.ref,
        name=metadata.name,
        namespace=metadata.namespace,
        created=metadata.creation_timestamp or 0,
        addresses=found,
        labels=metadata.labels,
        service_account=spec.service_account_name or "default",
        ports=_ports(pod),
        ready=is_ready(pod),
        mtls=metadata.labels.get(TLS_MODE) == "istio",
        router="gateway" in re.split(r"\s*,\s*", metadata.annotations.get(TEMPLATES, "").strip()),
        node=spec.node_name,
        locality=_locality(view, pod),
        network=networks.of_pod(view, metadata.labels, found[0] if found else ""),
        workload_name=workload_name(pod),
    )


def has_ended(pod: Pod) -> bool:
    """Tell whether the pod has run to its end and will not come back."""
    return pod.status.phase in _ENDED


def is_ready(pod: Pod) -> bool:
    """Tell whether the pod's condition Ready is true; a pod without the condition is not ready."""
    return any(it.type == "Ready" and it.status == "True" for it in pod.status.conditions)


def ports_by_name(pod: Pod) -> dict[str, int]:
    """Return the named TCP ports of a pod; of two with one name the first counts."""
    named: dict[str, int] = {}
    for port in _ports(pod):
        if port.name:
            named.setdefault(port.name, port.number)
    return named


def addresses(pod: Pod) -> tuple[str, ...]:
    """Return the addresses of a pod, the primary one first; none before it has any."""
    status = pod.status
    listed = tuple(address.ip for address in status.pod_ips if address.ip)
    return listed or ((status.pod_ip,) if status.pod_ip else ())


def _ports(pod: Pod) -> tuple[WorkloadPort, ...]:
    return tuple(
        WorkloadPort(port.name, port.container_port)
        for container in (*pod.spec.containers, *pod.spec.init_containers)
        for port in container.ports
        if port.protocol is Transport.TCP
    )


def _locality(view: View, pod: Pod) -> Locality:
    """The pod's label decides before the labels of its node; a label value cannot hold slashes."""
    if written := pod.metadata.labels.get(LOCALITY):
        parts = written.split("/" if "/" in written else ".", 2)
        return Locality(*parts)
    node = view.resource(Node, "", pod.spec.node_name) if pod.spec.node_name else None
    if node is None:
        return Locality()
    labels = node.metadata.labels
    return Locality(_first(labels, REGIONS), _first(labels, ZONES), labels.get(SUBZONE, ""))


def _first(labels: dict[str, str], names: tuple[str, ...]) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")


def workload_name(pod: Pod) -> str:
    """What made the pod: a Deployment's ReplicaSets carry a hash, a CronJob's Jobs a time."""
    owner = next((it for it in pod.metadata.owner_references if it.controller), None)
    hashed = _without_hash(pod, owner.name if owner else pod.metadata.name)
    if owner is None or owner.kind == "ReplicaSet":
        return hashed
    if owner.kind == "Job" and (run := _CRON_JOB_RUN.fullmatch(owner.name)):
        return run[1]
    return owner.name


def _without_hash(pod: Pod, name: str) -> str:
    """`reviews-v1-5d4f8b7c9-x2x7z` and `reviews-v1-5d4f8b7c9` are both of `reviews-v1`."""
    for label in TEMPLATE_HASHES:
        written = pod.metadata.labels.get(label)
        stem, found, rest = name.rpartition(f"-{written}")
        if written and found and (not rest or rest.startswith("-")):
            return stem
    return name
