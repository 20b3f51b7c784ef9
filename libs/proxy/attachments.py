"""Attachments: policies that name gateways of the Gateway API instead of selecting workloads.

A gateway's pods carry its name, and that of its class, as labels. A Gateway is named by policies of
its own namespace; a GatewayClass only by policies of the root namespace, for all its gateways.
"""

from typing import Protocol

from libs.model.settings import MeshSettings
from libs.model.workload import Workload

GATEWAY = "Gateway"
GATEWAY_CLASS = "GatewayClass"
GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name"
CLASS_LABEL = "gateway.networking.k8s.io/gateway-class-name"


class Attached(Protocol):
    """A policy that may have targets."""

    @property
    def namespace(self) -> str:
        """Where it stands."""
        ...

    @property
    def targets(self) -> tuple[str, ...]:
        """What it names."""
        ...


def attaches(policy: Attached, workload: Workload, settings: MeshSettings) -> bool:
    """Tell whether one of the policy's targets, `<kind>/<name>`, is the workload's gateway."""
    gateway = workload.labels.get(GATEWAY_LABEL)
    at_home = policy.namespace == workload.namespace
    if gateway and at_home and f"{GATEWAY}/{gateway}" in policy.targets:
        return True
    of_class = workload.labels.get(CLASS_LABEL)
    at_root = policy.namespace == settings.root_namespace
    return bool(of_class) and at_root and f"{GATEWAY_CLASS}/{of_class}" in policy.targets
