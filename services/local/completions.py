"""Completions: what a cluster would add to the user's Pods and Services, for discovery to lay over.

An address and readiness for each Pod, the label that injection sets on a Pod with a sidecar, a
virtual address for each Service. The user's own files are never written.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from services.local.addresses import Plan
from services.local.manifests import Application, Pod, Service

FILE = "completions.yaml"
_TLS_MODE = "security.istio.io/tlsMode"

Document = Mapping[str, object]


def write(folder: Path, application: Application, plan: Plan) -> None:
    """Write the completions into `folder`, whole or not at all."""
    text = "".join(f"---\n{json.dumps(item)}\n" for item in documents(application, plan))
    temporary = folder / f".{FILE}.new"
    temporary.write_text(text)
    temporary.replace(folder / FILE)


def documents(application: Application, plan: Plan) -> Iterator[Document]:
    """Yield one document for each Pod and Service that runs here."""
    for pod in application.pods:
        yield _pod(pod, str(plan.pods[pod.key].pod))
    for service in application.services:
        if not service.cluster_ip:
            yield _service(service, plan.services[service.key])


def _pod(pod: Pod, address: str) -> Document:
    return {
        **_head("Pod", pod.name, pod.namespace, {_TLS_MODE: "istio"} if pod.sidecar else {}),
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def _service(service: Service, address: str) -> Document:
    return {**_head("Service", service.name, service.namespace, {}), "spec": {"clusterIP": address}}


def _head(kind: str, name: str, namespace: str, labels: Mapping[str, str]) -> Document:  # noqa: PLR0917 - the order of the document
    metadata = {"name": name, "namespace": namespace, **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}
