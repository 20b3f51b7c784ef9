"""Balancing by locality: which setting is in force for a cluster, and what a place is called.

The host's policy decides before the service's own traffic distribution, and that before the mesh.
Failover needs somebody to notice failure: outlier detection, or a distribution that always prefers
the nearer endpoints.
"""

from collections.abc import Mapping
from typing import NamedTuple

from libs.model.endpoint import Locality
from libs.model.service import Service
from libs.model.settings import MeshSettings
from libs.model.traffic import LocalityBalancing, TrafficPolicy

NETWORK_LABEL = "topology.istio.io/network"
_REGION = "topology.kubernetes.io/region"
_ZONE = "topology.kubernetes.io/zone"
_SUBZONE = "topology.istio.io/subzone"
_HOSTNAME = "kubernetes.io/hostname"

_SAME_ZONE = LocalityBalancing(failover_priority=(NETWORK_LABEL, _REGION, _ZONE))
_SAME_NODE = LocalityBalancing(
    failover_priority=(NETWORK_LABEL, _REGION, _ZONE, _SUBZONE, _HOSTNAME)
)
_DISTRIBUTIONS = {
    "preferclose": _SAME_ZONE,
    "prefersamezone": _SAME_ZONE,
    "prefersamenode": _SAME_NODE,
}


class InForce(NamedTuple):
    """The setting in force, and whether nearer endpoints are to be preferred by priority."""

    setting: LocalityBalancing | None
    failover: bool

    @property
    def weighted(self) -> bool:
        """Tell whether localities have weights of their own in the cluster."""
        setting = self.setting
        if setting is None or setting.zones:
            return False
        named = setting.failover or setting.failover_priority
        return bool(setting.distribute or (self.failover and named))


def in_force(service: Service, policy: TrafficPolicy, settings: MeshSettings) -> InForce:
    """Return the locality setting of `service` under `policy`."""
    outlier = policy.outlier_detection is not None
    written = policy.load_balancing.locality if policy.load_balancing else None
    if written is not None:
        return _of(written, outlier)
    distribution = _DISTRIBUTIONS.get(service.traffic_distribution.lower())
    if distribution is not None:
        return InForce(distribution, failover=True)
    return _of(settings.locality, outlier) if settings.locality else InForce(None, outlier)


def _of(setting: LocalityBalancing, outlier: bool) -> InForce:
    if setting.zones:  # Envoy leaves its zone when it has to, whoever notices failure
        return InForce(setting, setting.enabled is not False)
    return InForce(None if setting.enabled is False else setting, outlier)


def spills_over(service: Service) -> bool:
    """Tell whether a service's own distribution passes requests on as health declines.

    Envoy then has to know of endpoints that are not ready, and must never call them.
    """
    return service.traffic_distribution.lower() in _DISTRIBUTIONS


def topology(locality: Locality, network: str, node: str) -> dict[str, str]:
    """Return the labels by which failover priorities name a place."""
    return {
        NETWORK_LABEL: network,
        _REGION: locality.region,
        _ZONE: locality.zone,
        _SUBZONE: locality.subzone,
        _HOSTNAME: node,
    }


def priority_labels(
    setting: LocalityBalancing, labels: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """Return the labels that a failover priority names, with the client's value of each.

    `key=value` in the priority stands for a client that has that value.
    """
    named = (entry.partition("=") for entry in setting.failover_priority)
    return tuple((key, value if written else labels.get(key, "")) for key, written, value in named)
