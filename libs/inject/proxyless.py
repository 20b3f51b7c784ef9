"""Proxyless: what a pod needs whose gRPC programs speak xDS themselves (templates `grpc-agent`).

The agent's container is made by `builtin`. The program's containers get the name of the bootstrap
that the agent writes, and see its files; what a container says itself stays. `grpc-simple`, which
with Istio has no agent, asks the control plane in clear text: here it is the same as `grpc-agent`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from libs.inject import words

BOOTSTRAP = "/etc/istio/proxy/grpc-bootstrap.json"
CERTIFICATES = "/var/lib/istio/data"

VARIABLES: tuple[Mapping[str, Any], ...] = (
    {"name": "DISABLE_ENVOY", "value": "true"},
    {"name": "ISTIO_META_GENERATOR", "value": "grpc"},
    {"name": "OUTPUT_CERTS", "value": CERTIFICATES},
    {"name": "GRPC_XDS_BOOTSTRAP", "value": BOOTSTRAP},
)
"""Of the agent, beside those of every proxy."""

_PROGRAMS = (
    {"name": "GRPC_XDS_BOOTSTRAP", "value": BOOTSTRAP},
    {"name": "GRPC_XDS_EXPERIMENTAL_SECURITY_SUPPORT", "value": "true"},
)
_MOUNTS = (
    {"name": "istio-envoy", "mountPath": "/etc/istio/proxy", "readOnly": True},
    {"name": "istio-data", "mountPath": CERTIFICATES, "readOnly": True},
)


def with_programs(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec whose own containers find the bootstrap."""
    found = [
        one if one.get("name") in words.OWN_CONTAINERS else _program(one)
        for one in spec.get("containers") or ()
    ]
    return {**spec, "containers": found}


def in_memory(volumes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the volumes with that of keys in memory: no key is ever written to a disk."""
    memory = {"emptyDir": {"medium": "Memory"}}
    return [{**one, **(memory if one["name"] == "istio-data" else {})} for one in volumes]


def _program(container: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **container,
        "env": _beside(container.get("env") or (), _PROGRAMS, "name"),
        "volumeMounts": _beside(container.get("volumeMounts") or (), _MOUNTS, "mountPath"),
    }


def _beside(own: Sequence[Any], added: Sequence[Any], key: str) -> list[Any]:
    known = {one.get(key) for one in own}
    return [*own, *(dict(one) for one in added if one[key] not in known)]
