"""Trials: many changed resources before one Envoy, and which of the changes it refuses.

One `envoy --mode validate` judges the resources of many changes, under names and addresses of their
own; if it refuses them, halves are tried until it is known whose fault it is. That a cluster which
a resource names is there is not judged: each change brings the names of its clusters.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import Address
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from msgspec import Struct

from libs.xds.types import (
    CLUSTER,
    ENDPOINT,
    EXTENSION,
    LISTENER,
    ROUTE,
    NamedResource,
    Snapshot,
    resource,
    resource_set,
)
from tests.support.static_envoy import refusal

JUDGED = (CLUSTER, ENDPOINT, EXTENSION, LISTENER, ROUTE)


class Change(Struct, frozen=True):
    """The name of a change, the resources that it made, and all clusters' names."""

    name: str
    made: tuple[NamedResource, ...]
    clusters: frozenset[str]


def refused(changes: Sequence[Change]) -> Iterator[tuple[str, str]]:
    """Yield the name of each change that Envoy refuses, and why."""
    if not changes or not (why := refusal(_snapshot(changes))):
        return
    if len(changes) == 1:
        yield changes[0].name, why
        return
    half = len(changes) // 2
    yield from refused(changes[:half])
    yield from refused(changes[half:])


def _snapshot(changes: Iterable[Change]) -> Snapshot:
    found: dict[str, list[NamedResource]] = {type_url: [] for type_url in JUDGED}
    numbers, seen = count(1), set[tuple[str, bytes]]()
    for change in changes:
        for made in change.made:
            if (made.type_url, made.body) not in seen:
                seen.add((made.type_url, made.body))
                found[made.type_url] += _apart(made, next(numbers))
    names = sorted({name for change in changes for name in change.clusters})
    found[CLUSTER] += (_resource(CLUSTER, name, Cluster(name=name)) for name in names)
    return Snapshot({type_url: resource_set(type_url, all_) for type_url, all_ in found.items()})


def _apart(made: NamedResource, number: int) -> list[NamedResource]:
    """Return a resource under a name and an address of its own; none if Envoy cannot judge it."""
    name, type_url = f"{made.name} #{number}", made.type_url
    if type_url == CLUSTER:
        cluster = Cluster.FromString(made.body)
        cluster.name = name
        return [_resource(type_url, name, cluster)]
    if type_url == ENDPOINT:
        endpoints = ClusterLoadAssignment.FromString(made.body)
        endpoints.cluster_name = name
        return [_resource(type_url, name, endpoints)]
    if type_url == LISTENER:
        listener = Listener.FromString(made.body)
        if listener.HasField("api_listener"):
            return []
        listener.name = name
        listener.ClearField("additional_addresses")
        _move(listener.address, number)
        return [_resource(type_url, name, listener)]
    return [resource(name, type_url, body=made.body)]


def _move(address: Address, number: int) -> None:
    if address.HasField("socket_address"):
        upper, lower = divmod(number, 250)
        address.socket_address.address = f"127.{upper // 250 + 1}.{upper % 250}.{lower + 1}"
    elif address.HasField("pipe"):
        address.pipe.path = f"/nowhere/listener-{number}"


def _resource(
    type_url: str, name: str, message: Cluster | Listener | ClusterLoadAssignment
) -> NamedResource:
    return resource(name, type_url, body=message.SerializeToString())
