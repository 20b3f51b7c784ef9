"""Workloads: the running things that have an address and an identity, with or without a proxy."""

from msgspec import Struct

from libs.model.endpoint import Locality
from libs.model.ids import Ref, WorkloadKey


class WorkloadPort(Struct, frozen=True, gc=False, omit_defaults=True):
    """A port that a container declares; it gives named target ports their number."""

    name: str
    number: int
    protocol: str = "TCP"


class Workload(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A pod, or a machine outside Kubernetes that a WorkloadEntry describes."""

    key: WorkloadKey
    ref: Ref
    name: str
    namespace: str
    created: int = 0
    addresses: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    service_account: str = "default"
    ports: tuple[WorkloadPort, ...] = ()
    ready: bool = True
    mtls: bool = False
    router: bool = False  # a gateway: annotated inject.istio.io/templates: gateway
    node: str = ""
    locality: Locality = Locality()
    network: str = ""
    workload_name: str = ""  # of the controller (Deployment, …); the pod's own name if it has none
    weight: int = 1
    entry: bool = False  # described by a WorkloadEntry; its addresses may be names or unix:// paths


class Namespace(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A namespace with its labels."""

    name: str
    ref: Ref
    labels: dict[str, str] = {}


def canonical_service(labels: dict[str, str], fallback: str) -> tuple[str, str]:
    """Return the name and revision under which telemetry counts what carries `labels`."""
    name = _first(labels, "service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
    revision = _first(
        labels, "service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"
    )
    return name or fallback, revision or "latest"


def canonical_name(workload: Workload) -> str:
    """Return the name under which telemetry counts a workload."""
    return canonical_service(workload.labels, workload.workload_name or workload.name)[0]


def canonical_revision(workload: Workload) -> str:
    """Return the revision under which telemetry counts a workload."""
    return canonical_service(workload.labels, workload.name)[1]


def _first(labels: dict[str, str], *keys: str) -> str:
    return next((labels[key] for key in keys if labels.get(key)), "")
