"""Node: how the proxy introduces itself to the control plane.

What is said here is a claim; the control plane believes only what the credential proves. Which
metadata keys matter is decided there.
"""

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from libs.model import durations
from libs.model.workload import canonical_service
from services.agent.settings import AgentSettings

logger = logging.getLogger(__name__)

_UNNAMED = "istio-proxy"


def node(
    settings: AgentSettings, role: str, *, domain: str, labels: Mapping[str, str]
) -> dict[str, Any]:
    """Return Envoy's Node as JSON data.

    Args:
        settings: the environment.
        role: sidecar or router.
        domain: DNS domain of the pod, `<namespace>.svc.<cluster domain>`.
        labels: labels of the pod, from its downward API volume if it has one.

    """
    namespace, name = settings.pod_namespace, settings.pod_name
    address = settings.instance_ip.split(",")[0]
    data = metadata(settings, labels)
    if role != "sidecar":
        data.pop("DNS_CAPTURE", None)  # nobody asks a gateway's agent for names
    introduced = {
        "id": f"{role}~{address}~{name}.{namespace}~{domain}",
        "cluster": _cluster(settings, data.get("LABELS", {})),
        "metadata": data,
    }
    if locality := _locality(data.get("LABELS", {})):
        introduced["locality"] = locality
    return introduced


def metadata(settings: AgentSettings, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the node's metadata: what the environment says, then what the agent knows itself."""
    found: dict[str, Any] = dict(settings.metadata)
    for key, text in settings.json_metadata.items():
        found[key] = _json(f"ISTIO_METAJSON_{key}", text)
    found.update(
        NAME=settings.pod_name,
        NAMESPACE=settings.pod_namespace,
        SERVICE_ACCOUNT=settings.service_account,
        INSTANCE_IPS=settings.instance_ip,
        ENVOY_PROMETHEUS_PORT=settings.prometheus_port,
        ENVOY_STATUS_PORT=settings.ready_port,
        PROXY_CONFIG=_json("PROXY_CONFIG", settings.proxy_config or "{}"),
    )
    found.setdefault("SEINE_COUNTS_BYTES", "true")
    _judge_idle_timeout(settings.metadata.get("IDLE_TIMEOUT"))
    if labels:
        found["LABELS"] = dict(labels)
    return found


def _judge_idle_timeout(text: str | None) -> None:
    """Say that a duration is none; the control plane takes it for nothing, as Istio's does."""
    try:
        durations.parse(text or "0")
    except ValueError as error:
        logger.warning("ISTIO_META_IDLE_TIMEOUT has no effect", extra={"reason": str(error)})


def downward_labels(text: str) -> dict[str, str]:
    r"""Return the labels in a downward API file: lines of `key="value"`, quoted as in JSON."""
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key and value:
            found[key] = str(_json("labels", value))
    return found


def _cluster(settings: AgentSettings, labels: Mapping[str, str]) -> str:
    given = settings.proxy.service_cluster
    if given and given != _UNNAMED:
        return given
    workload = settings.metadata.get("WORKLOAD_NAME") or _UNNAMED
    wanted = settings.proxy.tracing_service_name
    if wanted.startswith("CANONICAL_NAME"):
        name = canonical_service(dict(labels), workload)[0]
    else:
        name = labels.get("app") or workload
    return name if wanted == "CANONICAL_NAME_ONLY" else f"{name}.{settings.pod_namespace}"


def _locality(labels: Mapping[str, str]) -> dict[str, str]:
    """`istio-locality: region.zone.subzone`, the only locality a pod can name for itself."""
    parts = labels.get("istio-locality", "").split(".")
    names = ("region", "zone", "sub_zone")
    return {name: part for name, part in zip(names, parts, strict=False) if part}


def _json(variable: str, text: str) -> Any:  # noqa: ANN401  # JSON
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        message = f"{variable}: {error}"
        raise ValueError(message) from error
