"""Proxy settings: what holds for one proxy in the end, for whoever injects or starts it.

Later layers win: the mesh's `defaultConfig`, the ProxyConfig of the root namespace, that of the
proxy's namespace, the annotation `proxy.istio.io/config` of its pod, and the ProxyConfig that
selects it. Mappings, `proxyMetadata` above all, are laid over each other key by key, lists are
replaced. Of several ProxyConfigs that could be the same layer, the oldest is it.

Not decided here: what the defaults of absent fields are, which the agent knows.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

from msgspec.structs import replace

from libs.api import reasons
from libs.api.mesh_config import MeshConfig
from libs.api.networking.proxy_config import ProxyConfig
from libs.api.problem import Problem
from libs.api.proxy_defaults import ProxyDefaults
from libs.api.readers import reader_of
from libs.api.report import Report
from libs.api.resource import Metadata
from libs.api.validate.proxy_defaults import read_annotation
from libs.api.written import written
from libs.model.ids import Ref
from libs.translate.groups import Group
from libs.translate.state import Derived
from libs.translate.view import View

Layer = Mapping[str, Any]


def of_mesh(config: MeshConfig) -> ProxyDefaults | None:
    """Return what a mesh says of every proxy: its defaults, and the roots that they trust, too."""
    roots = [it.pem for it in config.ca_certificates or () if it.pem and not it.cert_signers]
    defaults = config.default_config
    if not roots:
        return defaults
    known = defaults or ProxyDefaults()
    return replace(known, ca_certificates_pem=(*known.ca_certificates_pem, *roots))


def effective(
    pod: Metadata,
    *,
    mesh: ProxyDefaults | None,
    configs: Iterable[ProxyConfig],
    root_namespace: str,
) -> ProxyDefaults:
    """Return the settings of the proxy of a pod whose namespace and labels are final.

    `configs` may hold the ProxyConfigs of all namespaces. An annotation that cannot be read is
    left out; `libs.api.validate` has said why.
    """
    merged: dict[str, Any] = {}
    for layer in _layers(pod, mesh, configs=configs, root=root_namespace):
        merged = _over(merged, layer)
    found = reader_of(ProxyDefaults)(merged, None, Report(Ref("")))
    return cast("ProxyDefaults", found)  # each layer was one


def as_json(settings: ProxyDefaults) -> str:
    """Return what the variable PROXY_CONFIG of the agent holds."""
    return json.dumps(written(settings), separators=(",", ":"), sort_keys=True)


def _layers(
    pod: Metadata, mesh: ProxyDefaults | None, *, configs: Iterable[ProxyConfig], root: str
) -> Iterable[Layer]:
    known = sorted(configs, key=_age)
    yield written(mesh) if mesh else {}
    for namespace in dict.fromkeys((root, pod.namespace)):
        yield _first(known, namespace, {}, wide=True)
    annotated = read_annotation(pod.annotations, Report(Ref("")))
    yield written(annotated) if annotated else {}
    yield _first(known, pod.namespace, pod.labels, wide=False)


def _first(
    known: Iterable[ProxyConfig], namespace: str, labels: Mapping[str, str], *, wide: bool
) -> Layer:
    for config in known:
        wanted = selector(config)
        fits = wide is not bool(wanted) and wanted.items() <= labels.items()
        if config.metadata.namespace == namespace and fits:
            return _layer(config)
    return {}


def selector(config: ProxyConfig) -> Mapping[str, str]:
    """Return the labels that a ProxyConfig asks for; none of them is all workloads."""
    return config.spec.selector.match_labels if config.spec.selector else {}


def _layer(config: ProxyConfig) -> Layer:
    spec = written(config.spec)
    named = {
        "concurrency": config.spec.concurrency,
        "proxyMetadata": spec.get("environmentVariables"),
        "image": spec.get("image"),
    }
    return {name: value for name, value in named.items() if value is not None}


def _over(below: Mapping[str, Any], above: Layer) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        under = below.get(name)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            merged[name] = _over(under, value)
        else:
            merged[name] = value
    return merged


def _age(config: ProxyConfig) -> tuple[int, str, str]:
    metadata = config.metadata
    return (metadata.creation_timestamp or 0, metadata.name, metadata.namespace)


def check(view: View, resource: ProxyConfig) -> Derived:
    """Return a problem if an older ProxyConfig has the same labels in the namespace, or none too.

    Two that ask for different labels may meet at one workload, where the older one counts.
    """
    key = resource.metadata.namespace
    rivals = view.resources(ProxyConfig, Group.PROXY_CONFIGS, key)
    same = [one for one in rivals if selector(one) == selector(resource)]
    oldest = min(same, key=_age)
    if oldest.ref == resource.ref:
        return Derived()
    text = f"{oldest.ref} is older and already decides for the same workloads"
    problem = Problem(resource.ref, "spec", reasons.CONFLICTING_POLICY, text)
    return Derived(problems=(problem,))
