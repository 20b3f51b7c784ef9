"""Small snapshots: resources whose bodies are short texts."""

from collections.abc import Mapping

from libs.model.ids import Ref
from libs.xds.types import NamedResource, ResourceSet, Snapshot, resource, resource_set


def item(type_url: str, name: str, body: str = "1") -> NamedResource:
    """Return a resource that came from `VirtualService/shop/<name>`."""
    return resource(
        name,
        type_url,
        body=f"{name}:{body}".encode(),
        sources=[Ref(f"VirtualService/shop/{name}")],
    )


def of_type(type_url: str, **bodies: str) -> ResourceSet:
    return resource_set(type_url, [item(type_url, name, body) for name, body in bodies.items()])


def snapshot(content: Mapping[str, Mapping[str, str]]) -> Snapshot:
    """Return a snapshot of type URL → name → body."""
    return Snapshot({type_url: of_type(type_url, **bodies) for type_url, bodies in content.items()})
