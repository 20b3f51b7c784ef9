"""What `seinectl check` looks at in a cluster: every pod of the control plane, proxies, problems.

Pods are asked themselves: what their conditions say is some seconds old, and why they are not ready
stands on their own page.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence

from libs.inject.words import TLS_MODE
from libs.kube import forward
from libs.kube.errors import ForbiddenError, KubeError, MalformedError
from libs.model import revisions
from services.ctl import check, leftovers
from services.ctl.check import Finding
from services.ctl.cluster import Misused
from services.ctl.cluster_plane import MONITORING_PORT, ClusterPlane, Pod
from services.ctl.mesh import RequestError

SERVICES = ("seine-ca", "seine-discovery", "seine-config-push", "seine-webhook")
_WITH_PROXY = {"labelSelector": f"{TLS_MODE}=istio", "fieldSelector": "status.phase=Running"}
_NAMES = 5
Seen = tuple[Finding, str, str]
"""What was found of a pod, its revision and its version."""


def findings(plane: ClusterPlane) -> Iterator[Finding]:
    """Look at everything, the most basic first.

    Raises:
        ForbiddenError: the caller may not look.
        Misused: there is no control plane at all.

    """
    versions: dict[str, set[str]] = {}
    for service in SERVICES:
        for finding, revision, version in plane.run(_service(plane, service)):
            versions.setdefault(revision, set()).update({version} - {""})
            yield finding
    for revision, found in versions.items():
        if len(found) > 1:
            hint = "Is an update under way? `kubectl rollout status` says so."
            text = f"of several versions: {', '.join(sorted(found))}"
            subject = revisions.named("control plane", revision)
            yield Finding(subject=subject, good=False, text=text, hint=hint)
    yield from _missing_replicas(plane)
    yield _absent(plane)
    yield check.configuration(plane)
    looked = leftovers.findings(plane.client, plane.system_namespace, running=versions.keys())
    yield from plane.run(looked)


async def _service(plane: ClusterPlane, service: str) -> list[Seen]:
    try:
        pods = await plane.pods(service)
    except Misused as error:
        if service == SERVICES[0]:
            raise
        text = f"no pods in namespace {plane.system_namespace}"
        return [(Finding(subject=service, good=False, text=text, hint=error.hint), "", "")]
    found = await asyncio.gather(*(_pod(plane, pod) for pod in pods))
    return [
        (finding, pod.revision, version)
        for pod, (finding, version) in zip(pods, found, strict=True)
    ]


async def _pod(plane: ClusterPlane, pod: Pod) -> tuple[Finding, str]:
    """Return what a pod says of itself, and its version."""
    logs = f"kubectl logs -n {plane.system_namespace} {pod.name}"
    if pod.phase != "Running":
        hint = f"kubectl describe pod -n {plane.system_namespace} {pod.name}"
        return Finding(subject=pod.name, good=False, text=f"it is {pod.phase}", hint=hint), ""
    try:
        ready = await _page(plane, pod, "/ready")
        version = str(json.loads((await _page(plane, pod, "/version")).body)["version"])
    except ForbiddenError:
        raise
    except (KubeError, ValueError, KeyError) as error:
        return Finding(subject=pod.name, good=False, text=str(error), hint=logs), ""
    if ready.status != 200:
        text = ", ".join(ready.body.decode(errors="replace").split("\n")).strip(", ")
        return Finding(subject=pod.name, good=False, text=text, hint=logs), version
    of = "" if revisions.is_default(pod.revision) else f", revision {pod.revision}"
    return Finding(subject=pod.name, good=True, text=f"ready, version {version}{of}"), version


async def _page(plane: ClusterPlane, pod: Pod, path: str) -> forward.Page:
    name, port = pod.name, MONITORING_PORT
    return await forward.get(plane.client, plane.system_namespace, name, port=port, path=path)


def _missing_replicas(plane: ClusterPlane) -> Iterator[Finding]:
    """Ask for all proxies, and name whose are not known."""
    yield check.connected(plane)
    if plane.missing:
        text = f"unknown are those of {', '.join(sorted(plane.missing))}"
        yield Finding(subject="proxies", good=False, text=text)


def _absent(plane: ClusterPlane) -> Finding:
    """Compare the pods that have a proxy with those that are connected."""
    subject = "pods with a proxy"
    try:
        answer = plane.run(plane.client.get("/api/v1/pods", _WITH_PROXY))
        connected = {str(row["proxy"]) for row in plane.statuses()}
        meta = [it["metadata"] for it in answer["items"]]
    except ForbiddenError:
        text = "not compared with those that are connected: list of pods is not allowed"
        return Finding(subject=subject, good=True, text=text)
    except (MalformedError, RequestError) as error:
        return Finding(subject=subject, good=False, text=str(error))
    pods = [f"{it['name']}.{it['namespace']}" for it in meta if "deletionTimestamp" not in it]
    if absent := sorted(set(pods) - connected):
        hint = "kubectl logs -n NAMESPACE POD -c istio-proxy"
        return Finding(subject=subject, good=False, text=f"{_few(absent)} not connected", hint=hint)
    return Finding(subject=subject, good=True, text=f"{len(pods)}, all connected")


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more
