"""Scene: everything that the containers of one pod's proxy are made from.

What others decide comes ready-made: the proxy's settings from `libs.translate.proxy_settings`, the
pod's wishes from `annotations`, its owner from `owner`.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from libs.api.mesh_config import MeshConfig
from libs.api.networking.proxy_config import ProxyConfig
from libs.api.proxy_defaults import Interception, ProxyDefaults, StatsMatcher
from libs.api.resource import Metadata
from libs.inject import words
from libs.inject.annotations import Wishes
from libs.inject.config import InjectorConfig
from libs.inject.openshift import Identity
from libs.inject.owner import Owner
from libs.translate import proxy_settings

STATUS_PORT = 15020
READY_PORT = 15021
PROMETHEUS_PORT = 15090


class Cluster(Struct, frozen=True, kw_only=True):
    """What does not change from pod to pod, and where the control plane is."""

    revision: str = "default"
    system_namespace: str = "istio-system"
    trust_domain: str = "cluster.local"
    cluster_domain: str = "cluster.local"
    cluster_id: str = "Kubernetes"
    network: str = ""
    proxy_image: str = "seine-agent"
    native_sidecars: bool = True


class NamespaceFacts(Struct, frozen=True, kw_only=True):
    """The namespace of a pod."""

    name: str
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    """Those that injection reads."""


class Settings(Struct, frozen=True, kw_only=True):
    """What users set for all pods. All of it may change while a process runs."""

    config: InjectorConfig = InjectorConfig()
    mesh: MeshConfig = MeshConfig()
    proxy_configs: tuple[ProxyConfig, ...] = ()


class Scene(Struct, frozen=True, kw_only=True):
    """One pod that is being injected."""

    pod: Mapping[str, Any]
    namespace: NamespaceFacts
    cluster: Cluster
    settings: Settings
    wishes: Wishes
    owner: Owner
    proxy: ProxyDefaults
    native: bool
    identity: Identity = Identity()
    variables: Mapping[str, str] = {}
    """Environment that the webhook's path asks for."""

    @property
    def spec(self) -> Mapping[str, Any]:
        """The pod's spec."""
        return self.pod.get("spec") or {}

    @property
    def labels(self) -> Mapping[str, str]:
        """The pod's labels."""
        return (self.pod.get("metadata") or {}).get("labels") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        """The pod's annotations."""
        return (self.pod.get("metadata") or {}).get("annotations") or {}

    @property
    def applications(self) -> list[Mapping[str, Any]]:
        """The pod's own containers."""
        found = self.spec.get("containers") or ()
        return [one for one in found if one.get("name") not in words.OWN_CONTAINERS]

    @property
    def status_port(self) -> int:
        """The agent's port."""
        return self.proxy.status_port or STATUS_PORT

    @property
    def interception(self) -> Interception:
        """How traffic comes to the proxy."""
        return self.wishes.interception or self.proxy.interception_mode or Interception.REDIRECT

    @property
    def trust_domain(self) -> str:
        """The trust domain of the mesh."""
        return self.settings.mesh.trust_domain or self.cluster.trust_domain

    @property
    def control_plane(self) -> str:
        """`host:port` of the control plane."""
        return control_plane(self.cluster)


def control_plane(cluster: Cluster) -> str:
    """Return `host:port` of the control plane for its proxies."""
    revision = "" if cluster.revision == "default" else f"-{cluster.revision}"
    return f"istiod{revision}.{cluster.system_namespace}.svc:15012"


def proxy_defaults(
    pod: Mapping[str, Any], namespace: str, *, settings: Settings, wishes: Wishes, cluster: Cluster
) -> ProxyDefaults:
    """Return the settings of a pod's proxy: mesh, namespace, workload, annotations."""
    metadata = pod.get("metadata") or {}
    found = proxy_settings.effective(
        Metadata(
            name=metadata.get("name") or "",
            namespace=namespace,
            labels=metadata.get("labels") or {},
            annotations=metadata.get("annotations") or {},
        ),
        mesh=proxy_settings.of_mesh(settings.mesh),
        configs=settings.proxy_configs,
        root_namespace=settings.mesh.root_namespace or cluster.system_namespace,
    )
    address = wishes.discovery_address or found.discovery_address or control_plane(cluster)
    found = replace(found, discovery_address=address)
    if wishes.status_port:
        found = replace(found, status_port=wishes.status_port)
    if wishes.interception:
        found = replace(found, interception_mode=wishes.interception)
    return _with_stats(found, wishes)


def _with_stats(found: ProxyDefaults, wishes: Wishes) -> ProxyDefaults:
    stats = wishes.stats
    if stats.prefixes or stats.suffixes or stats.regexps:
        matcher = StatsMatcher(stats.prefixes, stats.suffixes, stats.regexps)
        found = replace(found, proxy_stats_matcher=matcher)
    if stats.extra_tags:
        found = replace(found, extra_stat_tags=stats.extra_tags)
    if stats.compression is not None:
        found = replace(found, stats_compression=stats.compression)
    return found
