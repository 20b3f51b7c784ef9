"""Pods for tests of injection, and what a test looks for in them."""

from typing import Any

from libs.api.kubernetes import ConfigMap
from libs.api.mesh_config import MeshConfig
from libs.api.resource import Metadata
from libs.inject import config
from libs.inject.config import InjectorConfig
from libs.inject.pods import Asked, Injected, inject
from libs.inject.scene import Cluster, NamespaceFacts, Settings

Pod = dict[str, Any]


def pod(
    *containers: Pod,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    **spec: Any,  # noqa: ANN401
) -> Pod:
    """Return a pod of a Deployment `web` with containers, `app` unless they are named."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "web-5d4f8b7c9-",
            "labels": {"app": "web", "pod-template-hash": "5d4f8b7c9", **(labels or {})},
            "annotations": annotations or {},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": "web-5d4f8b7c9",
                    "uid": "8f3c",
                    "controller": True,
                }
            ],
        },
        "spec": {"containers": list(containers) or [{"name": "app", "image": "web:1"}], **spec},
    }


def injector(text: str = "", values: str = "") -> InjectorConfig:
    """Return what a ConfigMap with these texts says; it must be right."""
    data = {"config": text, "values": values}
    found, problems = config.read(ConfigMap(Metadata("istio-sidecar-injector"), data))
    assert not problems, problems
    return found


def injected(
    given: Pod,
    *,
    native: bool = True,
    namespace: str = "shop",
    settings: Settings | None = None,
    mesh: MeshConfig | None = None,
    **cluster: Any,  # noqa: ANN401
) -> Injected:
    """Inject a pod."""
    settings = settings or Settings(mesh=mesh or MeshConfig())
    return inject(
        Asked(pod=given, namespace=NamespaceFacts(name=namespace)),
        Cluster(native_sidecars=native, **cluster),
        settings,
    )


def result(given: Pod, **options: Any) -> Pod:  # noqa: ANN401
    """Return the injected pod; it must not have been refused."""
    done = injected(given, **options)
    assert done.pod is not None, done.problems
    return done.pod


def proxy(of: Pod) -> Pod:
    """Return the container of the proxy."""
    spec = of["spec"]
    found = [*spec.get("initContainers", ()), *spec["containers"]]
    one: dict[str, Any]
    (one,) = [container for container in found if container["name"] == "istio-proxy"]
    return one


def variables(container: Pod) -> dict[str, Any]:
    """Return the environment of a container; sources are shown as their field."""
    return {
        one["name"]: one.get("value", one.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath"))
        for one in container["env"]
    }


def names(of: Pod, field: str = "containers") -> list[str]:
    """Return the names of containers or volumes."""
    return [one["name"] for one in of["spec"].get(field, ())]
