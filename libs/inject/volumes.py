"""Volumes: where the agent finds its token and the roots, and where it keeps its own files."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from libs.inject.scene import Scene

TOKEN_SECONDS = 43200
ROOTS = "istio-ca-root-cert"


class Volumes(Struct, frozen=True):
    """Volumes of the pod, and their mounts in `istio-proxy`."""

    volumes: list[dict[str, Any]]
    mounts: list[dict[str, Any]]


def volumes(scene: Scene) -> Volumes:
    """Return what the proxy of a pod mounts, the pod's own wishes last."""
    found: list[tuple[str, dict[str, Any], str]] = [
        ("workload-socket", {"emptyDir": {}}, "/var/run/secrets/workload-spiffe-uds"),
        ("credential-socket", {"emptyDir": {}}, "/var/run/secrets/credential-uds"),
        ("workload-certs", {"emptyDir": {}}, "/var/run/secrets/workload-spiffe-credentials"),
        ("istio-envoy", {"emptyDir": {"medium": "Memory"}}, "/etc/istio/proxy"),
        ("istio-data", {"emptyDir": {}}, "/var/lib/istio/data"),
        ("istio-podinfo", _podinfo(), "/etc/istio/pod"),
        ("istio-token", _token(), "/var/run/secrets/tokens"),
        ("istiod-ca-cert", {"configMap": {"name": ROOTS}}, "/var/run/secrets/istio"),
    ]
    if name := scene.wishes.bootstrap_override:
        source = {"configMap": {"name": name}}
        found.append(("custom-bootstrap-volume", source, "/etc/istio/custom-bootstrap"))
    made = Volumes(
        [{"name": name, **source} for name, source, _ in found],
        [{"name": name, "mountPath": path} for name, _, path in found],
    )
    wishes = scene.wishes
    return Volumes([*made.volumes, *_named(wishes.volumes)], [*made.mounts, *_named(wishes.mounts)])


def _named(wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, **rest} for name, rest in wanted.items()]


def _podinfo() -> dict[str, Any]:
    items = [
        {"path": name, "fieldRef": {"fieldPath": f"metadata.{name}"}}
        for name in ("labels", "annotations")
    ]
    return {"downwardAPI": {"items": items}}


def _token() -> dict[str, Any]:
    source = {
        "audience": "istio-ca",
        "expirationSeconds": TOKEN_SECONDS,
        "path": "istio-token",
    }
    return {"projected": {"sources": [{"serviceAccountToken": source}]}}
