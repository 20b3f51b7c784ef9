"""Networks: `meshNetworks` that name a cluster which nobody knows.

Known are the cluster itself, and those for which there is a Secret of a remote cluster, whose keys
are the clusters' names. Which cluster this is no document says; it is taken for `Kubernetes`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from libs.api import documents, mesh_config, reasons
from libs.api.path import join
from libs.api.problem import Problem
from libs.inject.analysis.scenery import Scenery
from libs.inject.analysis.subject import Subject

_PLACE = f"data.{mesh_config.NETWORKS_KEY}"
_REMOTE = "istio/multiCluster"
_ALWAYS = frozenset({"Kubernetes", "External"})


def registries(seen: Scenery) -> Iterator[Problem]:
    """Yield registries of networks that are no cluster's."""
    known = _ALWAYS | {name for it in seen.subjects if _is_remote(it, seen) for name in _keys(it)}
    for subject in seen.subjects:
        if subject.kind == "ConfigMap" and subject.namespace == seen.root and _is_mesh(subject):
            for path, name in _named(subject):
                if name not in known:
                    text = f"there is no cluster {name[:100]!r}: no Secret of a remote cluster is"
                    text = f"{text} labelled {_REMOTE}=true and has it as a key"
                    yield Problem(subject.ref, path, reasons.UNKNOWN_REGISTRY, text)


def _is_mesh(subject: Subject) -> bool:
    return subject.name == mesh_config.NAME or subject.name.startswith(f"{mesh_config.NAME}-")


def _is_remote(subject: Subject, seen: Scenery) -> bool:
    labelled = subject.labels.get(_REMOTE) == "true"
    return subject.kind == "Secret" and labelled and subject.namespace == seen.root


def _keys(secret: Subject) -> Iterator[str]:
    for field in ("data", "stringData"):
        found = secret.raw.get(field)
        yield from found if isinstance(found, Mapping) else ()


def _named(subject: Subject) -> Iterator[tuple[str, str]]:
    """Yield path and name of each registry that the text names."""
    data = subject.raw.get("data")
    text = data.get(mesh_config.NETWORKS_KEY) if isinstance(data, Mapping) else None
    read = documents.read(text, "") if isinstance(text, str) else []
    networks = _mapping(read[0].raw if read else None, "networks")
    for network, written in networks.items():
        endpoints = _mapping_of(written).get("endpoints")
        for index, one in enumerate(endpoints if isinstance(endpoints, list) else ()):
            name = _mapping_of(one).get("fromRegistry", _mapping_of(one).get("from_registry"))
            if isinstance(name, str) and name:
                path = join(_PLACE, "networks", network, "endpoints", index, "fromRegistry")
                yield path, name


def _mapping(raw: object, key: str) -> Mapping[str, Any]:
    return _mapping_of(_mapping_of(raw).get(key))


def _mapping_of(raw: object) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}
