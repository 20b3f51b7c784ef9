"""From rows to what a generator makes of them, for tests of generators."""

from collections.abc import Mapping
from typing import TypeVar

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.message import Message
from msgspec import Struct

from libs.proxy.scope import ProxyScope
from libs.proxy.scoper import Scoper
from libs.xds import generate
from libs.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, NamedResource
from tests.support.mesh import mesh, proxy

M = TypeVar("M", bound=Message)


def scope(*rows: Struct, **client: object) -> ProxyScope:
    """Return the scope of a proxy in a mesh of `rows`."""
    return Scoper().scope(mesh(*rows), proxy(**client))  # type: ignore[arg-type]


def resources(type_url: str, *rows: Struct, **client: object) -> Mapping[str, NamedResource]:
    """Return the resources of one type that a proxy gets, by name."""
    return generate.GENERATORS[type_url](scope(*rows, **client)).resources


def _messages(
    kind: type[M], type_url: str, rows: tuple[Struct, ...], client: dict[str, object]
) -> dict[str, M]:
    found = resources(type_url, *rows, **client)
    return {name: kind.FromString(resource.body) for name, resource in found.items()}


def clusters(*rows: Struct, **client: object) -> dict[str, Cluster]:
    """Return a proxy's clusters by name."""
    return _messages(Cluster, CLUSTER, rows, client)


def listeners(*rows: Struct, **client: object) -> dict[str, Listener]:
    """Return a proxy's listeners by name."""
    return _messages(Listener, LISTENER, rows, client)


def routes(*rows: Struct, **client: object) -> dict[str, RouteConfiguration]:
    """Return a proxy's route configurations by name."""
    return _messages(RouteConfiguration, ROUTE, rows, client)


def assignments(*rows: Struct, **client: object) -> dict[str, ClusterLoadAssignment]:
    """Return a proxy's load assignments by cluster."""
    return _messages(ClusterLoadAssignment, ENDPOINT, rows, client)


def hosts(config: RouteConfiguration) -> dict[str, VirtualHost]:
    """Return virtual hosts by name."""
    return {host.name: host for host in config.virtual_hosts}
