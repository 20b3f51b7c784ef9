"""Groups of machines: who may register by a WorkloadGroup, and what the WorkloadEntry looks like.

Istio lets a machine choose its labels; here they are the group's, because services and policies
select by them. When an entry is written, and when it goes, is not decided here.
"""

from collections.abc import Mapping

from libs.api import reasons
from libs.api.networking.workload_group import GroupMetadata, WorkloadGroup
from libs.api.problem import Problem, Severity
from libs.model.machine import Machine, MachineGroup, machine_group_key
from libs.model.mesh import Key, Table
from libs.translate.state import Derived
from libs.translate.view import View

API_VERSION = "networking.istio.io/v1"
GROUP = "istio.io/autoRegistrationGroup"
"""Annotation: the group by which an entry was registered."""
CONTROLLER = "istio.io/workloadController"
CONNECTED_AT = "istio.io/connectedAt"
DISCONNECTED_AT = "istio.io/disconnectedAt"
HEALTH_CHECKS = "proxy.istio.io/health-checks-enabled"
"""Annotation: an entry counts only while its condition Healthy is true."""
HEALTHY = "Healthy"


def derive(_: View, group: WorkloadGroup) -> Derived:
    """Return the row of a group."""
    metadata = group.metadata
    key = machine_group_key(metadata.namespace, metadata.name)
    row = MachineGroup(key=key, ref=group.ref, service_account=account(group))
    return Derived(rows=((Key(Table.MACHINE_GROUP, key), row),), problems=_problems(group))


def account(group: WorkloadGroup) -> str:
    """Return the only account whose machines may register by a group."""
    return group.spec.template.service_account or "default"


def document(
    group: WorkloadGroup, machine: Machine, annotations: Mapping[str, str]
) -> dict[str, object]:
    """Return the WorkloadEntry of a machine as an API server takes it.

    Istio's precedence: labels of `metadata` win over the template's, and what the machine says of
    its place over the template's. `annotations` are added to the group's.
    """
    spec, metadata = group.spec.template, group.spec.metadata or GroupMetadata()
    labels = {**spec.labels, **metadata.labels}
    said: dict[str, str] = {**metadata.annotations, GROUP: machine.group, **annotations}
    if machine.probes:
        said[HEALTH_CHECKS] = "true"
    written = {
        "address": machine.address,
        "ports": dict(spec.ports),
        "labels": labels,
        "network": machine.network or spec.network,
        "locality": machine.locality or spec.locality,
        "weight": spec.weight,
        "serviceAccount": account(group),
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkloadEntry",
        "metadata": {
            "name": machine.entry,
            "namespace": machine.namespace,
            "labels": labels,
            "annotations": said,
            "ownerReferences": [_owner(group)],
        },
        "spec": {name: value for name, value in written.items() if value},
    }


def _owner(group: WorkloadGroup) -> dict[str, object]:
    """The cluster removes an entry whose group is removed."""
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkloadGroup",
        "name": group.metadata.name,
        "uid": group.metadata.uid,
        "controller": True,
    }


def _problems(group: WorkloadGroup) -> tuple[Problem, ...]:
    if not group.spec.template.address:
        return ()
    text = "has no effect: each machine registers with the address that it has"
    found = Problem(group.ref, "spec.template.address", reasons.NO_EFFECT, text, Severity.WARNING)
    return (found,)
