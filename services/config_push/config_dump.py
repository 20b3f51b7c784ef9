"""Configuration dump: what a proxy should have, in the JSON that Envoy's own config_dump uses.

Rendering takes a while for a large mesh: call it away from the event loop.
"""

import json
from collections.abc import Iterable, Mapping

from google.protobuf.any_pb2 import Any as ProtoAny

from libs.model.ids import Ref
from libs.protos.istio.nds.v1 import nds_pb2  # noqa: F401  # NameTable is known by its name
from libs.xds import readable
from libs.xds.generate.patches.values import load_types_in
from libs.xds.types import CLUSTER, ENDPOINT, EXTENSION, LISTENER, ROUTE, NamedResource, ResourceSet

_ADMIN = "type.googleapis.com/envoy.admin.v3."


def render(sets: Mapping[str, ResourceSet]) -> bytes:
    """Return the dump as JSON; `sources` beside it says what each resource came from."""
    configs = [
        _dump("ClustersConfigDump", "dynamic_active_clusters", _clusters(sets.get(CLUSTER))),
        _dump("ListenersConfigDump", "dynamic_listeners", _listeners(sets.get(LISTENER))),
        _dump("RoutesConfigDump", "dynamic_route_configs", _plain(sets.get(ROUTE), "route_config")),
        _dump(
            "EndpointsConfigDump",
            "dynamic_endpoint_configs",
            _plain(sets.get(ENDPOINT), "endpoint_config"),
        ),
        _dump("EcdsConfigDump", "ecds_filters", _plain(sets.get(EXTENSION), "ecds_filter")),
    ]
    document = {"configs": configs, "sources": _sources(sets)}
    return json.dumps(document, indent=1).encode()


def render_type(sets: Mapping[str, ResourceSet], type_url: str) -> bytes:
    """Return the resources of one type alone, as Istio's pages edsz, ndsz and ecdsz show them."""
    found = sets.get(type_url)
    return json.dumps({"configs": [_message(one) for one in _items(found)]}).encode()


def _dump(kind: str, field: str, items: list[dict[str, object]]) -> dict[str, object]:
    return {"@type": _ADMIN + kind, field: items}


def _clusters(found: ResourceSet | None) -> list[dict[str, object]]:
    return _plain(found, "cluster")


def _listeners(found: ResourceSet | None) -> list[dict[str, object]]:
    return [
        {
            "name": item.name,
            "active_state": {"version_info": item.version, "listener": _message(item)},
        }
        for item in _items(found)
    ]


def _plain(found: ResourceSet | None, field: str) -> list[dict[str, object]]:
    return [{"version_info": item.version, field: _message(item)} for item in _items(found)]


def _items(found: ResourceSet | None) -> Iterable[NamedResource]:
    return found.resources.values() if found else ()


def _message(item: NamedResource) -> object:
    # What the cache has given may hold types that only a patch has named, in another process.
    load_types_in(item.body)
    packed = ProtoAny(type_url=item.type_url, value=item.body)
    return readable.as_json(packed)


def _sources(sets: Mapping[str, ResourceSet]) -> dict[str, list[Ref]]:
    return {
        item.name: list(item.sources)
        for found in sets.values()
        for item in found.resources.values()
        if item.sources
    }
