"""Workload entries: one workload row for each WorkloadEntry, a machine that is no pod.

Others find it by its key, its address or its labels. It joins the services whose selectors cover
it, in `endpoints` and `entry_endpoints`. Whoever wrote it vouches for its health, unless it is
annotated for health checks: then it counts while its condition Healthy is true.
"""

from libs.api import reasons
from libs.api.networking.workload_entry import WorkloadEntry, WorkloadEntrySpec
from libs.api.problem import Problem, Severity
from libs.model.endpoint import Locality
from libs.model.ids import entry_key
from libs.model.mesh import Key, Table
from libs.model.workload import Workload, WorkloadPort
from libs.translate.groups import Group
from libs.translate.machine_groups import GROUP, HEALTH_CHECKS, HEALTHY
from libs.translate.state import Derived
from libs.translate.view import View
from libs.translate.workloads import LOCALITY, TLS_MODE

_TRUE = frozenset({"1", "t", "T", "true", "True", "TRUE"})


def derive(view: View, entry: WorkloadEntry) -> Derived:
    """Return the row of an entry."""
    metadata, spec = entry.metadata, entry.spec
    key = entry_key(metadata.namespace, metadata.name)
    row = Workload(
        key=key,
        ref=entry.ref,
        name=metadata.name,
        namespace=metadata.namespace,
        created=metadata.creation_timestamp or 0,
        addresses=(spec.address,) if spec.address else (),
        labels={**metadata.labels, **spec.labels},
        service_account=spec.service_account or "default",
        ports=tuple(WorkloadPort(name, number) for name, number in sorted(spec.ports.items())),
        ready=is_healthy(entry),
        mtls=has_sidecar(spec),
        locality=locality(spec),
        network=spec.network,
        workload_name=metadata.annotations.get(GROUP) or metadata.name,
        weight=spec.weight or 1,
        entry=True,
    )
    return Derived(rows=((Key(Table.WORKLOAD, key), row),), problems=tuple(_problems(view, entry)))


def is_healthy(entry: WorkloadEntry) -> bool:
    """Tell whether a workload gets traffic; one that is checked must have been found well."""
    if entry.metadata.annotations.get(HEALTH_CHECKS) not in _TRUE:
        return True
    return any(it.type == HEALTHY and it.status == "True" for it in entry.status.conditions)


def has_sidecar(spec: WorkloadEntrySpec) -> bool:
    """Tell whether a workload speaks mesh TLS: it says so, or has an identity to prove."""
    written = spec.labels.get(TLS_MODE)
    return bool(spec.service_account) if written is None else written == "istio"


def locality(spec: WorkloadEntrySpec) -> Locality:
    """Return where a workload runs; a label value cannot hold slashes."""
    written = spec.locality or spec.labels.get(LOCALITY, "")
    parts = written.split("/" if "/" in written else ".", 2) if written else ()
    return Locality(*parts)


def without_way(view: View, spec: WorkloadEntrySpec) -> str:
    """Return why nobody can reach a workload, or an empty text."""
    if spec.address or view.rows(Table.NETWORKS, Group.ENTERED, spec.network):
        return ""
    return f"network {spec.network[:100]!r} has no gateway: without an address it gets no traffic"


def _problems(view: View, entry: WorkloadEntry) -> list[Problem]:
    text = without_way(view, entry.spec)
    if not text:
        return []
    return [Problem(entry.ref, "spec.address", reasons.NO_EFFECT, text, Severity.WARNING)]
