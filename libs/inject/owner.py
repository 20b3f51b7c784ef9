"""Owner: what made a pod, as far as the pod itself says it.

A Deployment is not named in its pods: its ReplicaSet is, by the Deployment's name and a hash. The
same goes for a CronJob and its Jobs. No API server is asked.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from libs.api.kubernetes import Pod
from libs.api.resource import Metadata, OwnerReference
from libs.translate.workloads import workload_name

_MADE_BY = {"ReplicaSet": ("apps/v1", "Deployment"), "Job": ("batch/v1", "CronJob")}


class Owner(Struct, frozen=True):
    """Name, kind and apiVersion of what the user wrote."""

    name: str
    kind: str
    api_version: str

    def meta(self, namespace: str) -> str:
        """Return the value of ISTIO_META_OWNER."""
        plural = f"{self.kind.lower()}s"
        return f"kubernetes://apis/{self.api_version}/namespaces/{namespace}/{plural}/{self.name}"


def owner_of(pod: Mapping[str, Any]) -> Owner:
    """Return what made `pod`: its controller, what made that, or the pod itself."""
    metadata = pod.get("metadata") or {}
    references = metadata.get("ownerReferences") or ()
    given = next((one for one in references if one.get("controller")), None)
    name = metadata.get("name") or str(metadata.get("generateName", "")).rstrip("-")
    controller = OwnerReference(given["kind"], given["name"], controller=True) if given else None
    known = Metadata(
        name=name,
        labels=metadata.get("labels") or {},
        owner_references=(controller,) if controller else (),
    )
    found = workload_name(Pod(metadata=known))
    if given is None or controller is None:
        return Owner(found, "Pod", "v1")
    if found != controller.name and (above := _MADE_BY.get(controller.kind)):
        return Owner(found, above[1], above[0])
    return Owner(controller.name, controller.kind, str(given.get("apiVersion", "")))
