"""Mesh layers: which ConfigMaps hold MeshConfig, and how one is laid over another.

A control plane of the revision `default` reads the ConfigMap `istio`, one of another revision
`istio-<revision>`. Beneath that may lie one that several revisions share. As in Istio, what the
revision's own says wins field by field at the top; defaults of proxies and of providers are merged
one level deeper, providers by name, and aliases of the trust domain add up.
What a MeshConfig means is not decided here but in `libs.api.mesh_config`.
"""

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from libs.api import documents, mesh_config
from libs.api.documents import Raw
from libs.api.kubernetes import ConfigMap
from libs.api.resource import Metadata
from libs.model import revisions

DEFAULT_REVISION = revisions.DEFAULT

_ONE_DEEPER = ("defaultConfig", "defaultProviders")
_METADATA = "proxyMetadata"
_PROVIDERS = "extensionProviders"
_ALIASES = "trustDomainAliases"
# YAML takes these for line breaks or refuses them, where JSON has them as they are.
_ESCAPED = {ord(it): f"\\u{ord(it):04x}" for it in (*map(chr, range(0x7F, 0xA0)), *"\u2028\u2029")}


def config_map_name(revision: str) -> str:
    """Return the name of the ConfigMap with the settings of a revision."""
    return revisions.named(mesh_config.NAME, revision)


class Layers(Struct):
    """The ConfigMaps of one control plane as they are now; None is one that there is not."""

    own: ConfigMap | None = None
    shared: ConfigMap | None = None

    def together(self, namespace: str, name: str) -> ConfigMap | None:
        """Return what both say, under the name of the own one, or None if there is neither."""
        if self.shared is None:
            return self.own
        return layered(self.own or ConfigMap(Metadata(name, namespace)), self.shared)


def layered(own: ConfigMap, shared: ConfigMap) -> ConfigMap:
    """Return `own` with what `shared` says beneath; both must be good by themselves."""
    beneath, above = _read(shared), _read(own)
    if not beneath:
        return own
    text = json.dumps(_merged(beneath, above), ensure_ascii=False).translate(_ESCAPED)
    return replace(own, data={**own.data, mesh_config.KEY: text})


def _read(resource: ConfigMap) -> dict[str, Any]:
    found = documents.read(resource.data.get(mesh_config.KEY, ""), "")
    return _camel(found[0].raw or {}) if found else {}


def _camel(raw: Raw) -> dict[str, Any]:
    return {mesh_config.camel(name): value for name, value in raw.items() if value is not None}


def _merged(beneath: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {**beneath, **above}
    for name in _ONE_DEEPER:
        if name in beneath and name in above:
            found[name] = _deeper(_camel(beneath[name]), _camel(above[name]))
    if _PROVIDERS in beneath and _PROVIDERS in above:
        named = {one.get("name"): one for one in (*beneath[_PROVIDERS], *above[_PROVIDERS])}
        found[_PROVIDERS] = list(named.values())
    if _ALIASES in beneath and _ALIASES in above:
        found[_ALIASES] = sorted({*beneath[_ALIASES], *above[_ALIASES]})
    return found


def _deeper(beneath: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    found = {**beneath, **above}
    if _METADATA in beneath and _METADATA in above:
        found[_METADATA] = {**beneath[_METADATA], **above[_METADATA]}
    return found
