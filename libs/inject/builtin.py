"""Built-in templates: the pieces that make a sidecar, a gateway or a proxyless pod of a pod.

They are functions and not text, so nothing that a user writes can become structure. A user's own
template of the same name takes the place of a built-in one.
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from libs.api.proxy_defaults import Interception
from libs.inject import images, interception, privileges, proxyless, words
from libs.inject.environment import environment
from libs.inject.resources import resources
from libs.inject.scene import PROMETHEUS_PORT, READY_PORT, Scene
from libs.inject.volumes import volumes

Fragment = dict[str, Any]

PROGRAM = "service"
"""The program of our images; arguments go to it, and hooks call it by name."""

_PROBE_TIMEOUT = 3


def sidecar(scene: Scene) -> Fragment:
    """Return the piece that puts a proxy beside the pod's containers."""
    proxy = _proxy(scene, "sidecar")
    if lifecycle := _lifecycle(scene):
        proxy["lifecycle"] = lifecycle
    init = interception.init_containers(scene)
    spec = {"volumes": volumes(scene).volumes, **_secrets(scene)}
    noted = {"metadata": {"annotations": interception.annotations(scene)}}
    if scene.native:
        proxy["restartPolicy"] = "Always"
        return {**noted, "spec": {**spec, "initContainers": [*init, proxy]}}
    return {**noted, "spec": {**spec, "initContainers": init, "containers": [proxy]}}


def gateway(scene: Scene) -> Fragment:
    """Return the piece that makes the pod's container `istio-proxy` a gateway."""
    proxy = _proxy(scene, "router")
    low_ports = {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}
    return {
        "spec": {
            "securityContext": {"sysctls": [low_ports]},
            "containers": [proxy],
            "volumes": volumes(scene).volumes,
            **_secrets(scene),
        }
    }


def grpc_agent(scene: Scene) -> Fragment:
    """Return the piece that puts an agent without an Envoy beside a gRPC program.

    The program's own containers get theirs from `proxyless`.
    """
    bare = replace(scene, wishes=replace(scene.wishes, interception=Interception.NONE))
    found = volumes(bare)
    proxy = _proxy(bare, "sidecar")
    own = {one["name"] for one in proxyless.VARIABLES}
    kept = [one for one in proxy["env"] if one["name"] not in own]
    port = {"containerPort": scene.status_port, "protocol": "TCP", "name": "mesh-metrics"}
    proxy |= {
        "ports": [port],
        "env": [*kept, *proxyless.VARIABLES],
        **_probes(bare, port=scene.status_port),
    }
    spec = {"volumes": proxyless.in_memory(found.volumes), **_secrets(scene)}
    if not (scene.spec.get("securityContext") or {}).get("fsGroup"):
        spec["securityContext"] = {"fsGroup": privileges.identity(bare).group}
    if scene.native:
        return {"spec": {**spec, "initContainers": [{**proxy, "restartPolicy": "Always"}]}}
    proxy["lifecycle"] = {"postStart": _wait(scene)}
    return {"spec": {**spec, "containers": [proxy]}}


TEMPLATES: Mapping[str, Callable[[Scene], Fragment]] = {
    words.SIDECAR_TEMPLATE: sidecar,
    words.GATEWAY_TEMPLATE: gateway,
    **dict.fromkeys(sorted(words.GRPC_TEMPLATES), grpc_agent),
}


def _proxy(scene: Scene, role: str) -> dict[str, Any]:
    values = scene.settings.config.values.global_
    found = {
        "name": words.PROXY,
        "image": images.proxy_image(scene),
        "args": _arguments(scene, role),
        "ports": [{"containerPort": PROMETHEUS_PORT, "protocol": "TCP", "name": "http-envoy-prom"}],
        "env": environment(scene),
        "resources": resources(scene),
        "securityContext": privileges.of_proxy(scene),
        "volumeMounts": volumes(scene).mounts,
        **_probes(scene),
    }
    if values.image_pull_policy:
        found["imagePullPolicy"] = values.image_pull_policy
    return found


def _arguments(scene: Scene, role: str) -> list[str]:
    values, wishes = scene.settings.config.values.global_, scene.wishes
    domain = values.proxy.cluster_domain or scene.cluster.cluster_domain
    level = wishes.log_level or values.proxy.log_level or "warning"
    components = wishes.component_log_level or values.proxy.component_log_level or "misc:error"
    return [
        *("proxy", role, "--domain", f"$(POD_NAMESPACE).svc.{domain}"),
        *(f"--proxyLogLevel={level}", f"--proxyComponentLogLevel={components}"),
        f"--log_output_level={wishes.agent_log_level or values.logging.level or 'default:info'}",
    ]


def _probes(scene: Scene, *, port: int = READY_PORT) -> dict[str, Any]:
    if scene.wishes.status_port == 0:
        return {}
    values, wishes = scene.settings.config.values.global_.proxy, scene.wishes
    ask = {"httpGet": {"path": "/healthz/ready", "port": port}}
    delay = _first(wishes.readiness_delay, values.readiness_initial_delay_seconds)
    readiness = {
        **ask,
        **({"initialDelaySeconds": delay} if delay else {}),
        "periodSeconds": _first(wishes.readiness_period, values.readiness_period_seconds),
        "timeoutSeconds": _PROBE_TIMEOUT,
        "failureThreshold": _first(wishes.readiness_failures, values.readiness_failure_threshold),
    }
    if not values.startup_probe.enabled:
        return {"readinessProbe": readiness}
    startup = {
        **ask,
        "periodSeconds": 1,
        "timeoutSeconds": _PROBE_TIMEOUT,
        "failureThreshold": values.startup_probe.failure_threshold,
    }
    return {"startupProbe": startup, "readinessProbe": readiness}


def _lifecycle(scene: Scene) -> Mapping[str, Any]:
    """A native sidecar gets its signal last, so it is told to drain before the application ends."""
    if given := scene.settings.config.values.global_.proxy.lifecycle:
        return given
    if scene.native:
        port = f"--debug-port={scene.status_port}"
        return {"preStop": _run("request", port, "POST", "drain")}
    if scene.proxy.hold_application_until_proxy_starts:
        return {"postStart": _wait(scene)}
    return {}


def _wait(scene: Scene) -> dict[str, Any]:
    return _run("wait", f"--url=http://localhost:{scene.status_port}/healthz/ready")


def _run(*words_: str) -> dict[str, Any]:
    return {"exec": {"command": [PROGRAM, *words_]}}


def _secrets(scene: Scene) -> dict[str, Any]:
    names = scene.settings.config.values.global_.image_pull_secrets
    return {"imagePullSecrets": [{"name": name} for name in names]} if names else {}


def _first(said: int | None, default: int) -> int:
    return default if said is None else said
