"""Environment: the variables of the container `istio-proxy`, which are all that its agent is told.

Their names and values are Istio's. What `proxyMetadata` sets is laid over the rest, as with Istio.
"""

import json
from collections.abc import Mapping
from typing import Any

from libs.inject.scene import Scene
from libs.inject.words import NETWORK, WORKLOAD_NAME
from libs.translate import proxy_settings

_RESOURCE_ATTRIBUTES = "resource.opentelemetry.io/"

Variable = dict[str, Any]


def environment(scene: Scene) -> list[Variable]:
    """Return the variables in their order, each name once."""
    found = {
        **_identity(scene),
        **_fields(),
        "ISTIO_CPU_LIMIT": _resource("limits.cpu"),
        "PROXY_CONFIG": _value(proxy_settings.as_json(scene.proxy)),
        **_workload(scene),
        **_tuning(scene),
    }
    for name, text in {**scene.proxy.proxy_metadata, **scene.variables}.items():
        found[name] = _value(text)
    return [{"name": name, **rest} for name, rest in found.items()]


def _identity(scene: Scene) -> dict[str, Variable]:
    global_ = scene.settings.config.values.global_
    return {
        "PILOT_CERT_PROVIDER": _value("istiod"),
        "CA_ADDR": _value(global_.ca_address or scene.control_plane),
        "TRUST_DOMAIN": _value(scene.trust_domain),
    }


def _fields() -> dict[str, Variable]:
    return {
        "POD_NAME": _field("metadata.name"),
        "POD_NAMESPACE": _field("metadata.namespace"),
        "INSTANCE_IP": _field("status.podIPs"),  # both families of a dual-stack pod
        "SERVICE_ACCOUNT": _field("spec.serviceAccountName"),
        "HOST_IP": _field("status.hostIP"),
        "ISTIO_META_NODE_NAME": _field("spec.nodeName"),
    }


def _workload(scene: Scene) -> dict[str, Variable]:
    global_ = scene.settings.config.values.global_
    cluster_id = global_.multi_cluster.cluster_name or scene.cluster.cluster_id
    mesh_id = scene.proxy.mesh_id or global_.mesh_id or scene.trust_domain
    network = scene.labels.get(NETWORK) or global_.network or scene.cluster.network
    name = scene.labels.get(WORKLOAD_NAME) or scene.owner.name
    return {
        "ISTIO_META_POD_PORTS": _value(_ports(scene)),
        "ISTIO_META_APP_CONTAINERS": _value(
            ",".join(str(one.get("name", "")) for one in scene.applications)
        ),
        "ISTIO_META_CLUSTER_ID": _value(cluster_id),
        "ISTIO_META_INTERCEPTION_MODE": _value(scene.interception),
        "ISTIO_META_WORKLOAD_NAME": _value(name),
        "ISTIO_META_OWNER": _value(scene.owner.meta(scene.namespace.name)),
        "ISTIO_META_MESH_ID": _value(mesh_id),
        **({"ISTIO_META_NETWORK": _value(network)} if network else {}),
    }


def _ports(scene: Scene) -> str:
    """Without the proxy's own."""
    found = [
        {key: port[key] for key in ("name", "containerPort", "protocol") if key in port}
        for container in scene.applications
        for port in container.get("ports") or ()
    ]
    return json.dumps(found, separators=(",", ":"))


def _tuning(scene: Scene) -> dict[str, Variable]:
    found = {}
    values = scene.settings.config.values.global_.proxy
    if values.tz:
        found["TZ"] = _value(values.tz)
    if scene.wishes.bootstrap_override:
        path = "/etc/istio/custom-bootstrap/custom_bootstrap.json"
        found["ISTIO_BOOTSTRAP_OVERRIDE"] = _value(path)
    if attributes := _attributes(scene.annotations):
        found["OTEL_RESOURCE_ATTRIBUTES"] = _value(attributes)
    level = scene.wishes.agent_log_level.rpartition(":")[2]
    if level in {"debug", "info", "warning", "error"}:
        found["SEINE_LOG_LEVEL"] = _value(level)
    return found


def _attributes(annotations: Mapping[str, str]) -> str:
    found = {
        key.removeprefix(_RESOURCE_ATTRIBUTES): value
        for key, value in annotations.items()
        if key.startswith(_RESOURCE_ATTRIBUTES) and not {",", "="} & set(value)
    }
    return ",".join(f"{key}={value}" for key, value in sorted(found.items()))


def _value(text: str) -> Variable:
    return {"value": str(text)}


def _field(path: str) -> Variable:
    return {"valueFrom": {"fieldRef": {"fieldPath": path}}}


def _resource(name: str) -> Variable:
    return {"valueFrom": {"resourceFieldRef": {"resource": name}}}
