"""Proxies: the settings of sidecars that a folder of manifests holds, as an injector reads them.

MeshConfig's `defaultConfig`, ProxyConfigs, and the annotation of a Pod. Where a proxy listens is
this machine's own business, whatever is written.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from libs.api import mesh_config
from libs.api.check import check_raw
from libs.api.documents import Raw
from libs.api.kubernetes import ConfigMap
from libs.api.networking.proxy_config import ProxyConfig
from libs.api.proxy_defaults import ProxyDefaults
from libs.api.resource import Metadata
from libs.api.written import written
from libs.model.settings import MeshSettings
from libs.translate import proxy_settings

METADATA = "proxyMetadata"
_ROOT = MeshSettings().root_namespace
_OURS = frozenset(
    {"configPath", "discoveryAddress", "interceptionMode", "proxyAdminPort", "statusPort"}
)
"""Settings that follow from how the mesh runs here."""


class Written(Struct, frozen=True):
    """What manifests say of proxies."""

    mesh: ProxyDefaults | None = None
    configs: tuple[ProxyConfig, ...] = ()

    def of(
        self, namespace: str, labels: Mapping[str, str], annotations: Mapping[str, str]
    ) -> Mapping[str, Any]:
        """Return the settings of one Pod's sidecar, in the form of ProxyConfig's JSON."""
        found = proxy_settings.effective(
            Metadata(
                name="", namespace=namespace, labels=dict(labels), annotations=dict(annotations)
            ),
            mesh=self.mesh,
            configs=self.configs,
            root_namespace=_ROOT,
        )
        return {name: value for name, value in written(found).items() if name not in _OURS}


def read(raws: Iterable[Raw]) -> Written:
    """Return what manifests say of proxies; what is wrong says nothing."""
    mesh, configs = None, list[ProxyConfig]()
    for raw in raws:
        if raw.get("kind") not in {"ConfigMap", "ProxyConfig"}:
            continue
        resource, _ = check_raw(raw)
        if isinstance(resource, ProxyConfig):
            configs.append(resource)
        elif isinstance(resource, ConfigMap) and mesh is None:
            named = resource.metadata.namespace, resource.metadata.name
            config, _ = mesh_config.read(resource)
            if named == (_ROOT, mesh_config.NAME) and config is not None:
                mesh = proxy_settings.of_mesh(config)
    return Written(mesh, tuple(configs))
