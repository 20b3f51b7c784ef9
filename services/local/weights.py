"""Weights: how the user's routing asks requests to a service to be split over its versions."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from libs.model.mesh import Mesh
from libs.model.service import Service
from libs.model.traffic import MESH_GATEWAY, HttpRoute, WeightedDestination
from libs.proxy.peers import selects

VERSION = "version"


def asked(mesh: Mesh) -> Mapping[str, Mapping[str, float]]:
    """Return service name → version → percent, for services that a routing splits.

    Only the route that every request takes counts: one that has no conditions. Versions that the
    routing leaves out are asked to get nothing.
    """
    found: dict[str, Mapping[str, float]] = {}
    for service, route in _split_services(mesh):
        shares = dict.fromkeys(_versions(mesh, service, {}), 0.0)
        total = sum(item.weight for item in route.destinations)
        for item in route.destinations:
            labels = _labels(mesh, item)
            percent = 100 * item.weight / total if total else 100.0
            for version in _versions(mesh, service, labels)[:1]:
                shares[version] += percent
        found[service.name] = shares
    return found


def _split_services(mesh: Mesh) -> Iterator[tuple[Service, HttpRoute]]:
    by_host = {service.host: service for service in mesh.services.values()}
    for routing in mesh.routings.values():
        route = next((route for route in routing.http if not route.matches), None)
        if route is None or MESH_GATEWAY not in routing.gateways:
            continue
        hosts = {item.destination.host for item in route.destinations}
        subsets = any(item.destination.subset for item in route.destinations)
        service = by_host.get(next(iter(hosts), ""))
        if len(hosts) == 1 and subsets and service is not None:
            yield service, route


def _labels(mesh: Mesh, item: WeightedDestination) -> Mapping[str, str]:
    wanted = item.destination
    for policy in mesh.host_policies.values():
        for subset in policy.subsets:
            if policy.host == wanted.host and subset.name == wanted.subset:
                return subset.labels
    return {}


def _versions(mesh: Mesh, service: Service, labels: Mapping[str, str]) -> list[str]:
    """Return the versions among the service's pods that carry `labels`, sorted."""
    wanted = {**service.selector, **labels}
    found: dict[str, bool] = defaultdict(bool)
    for workload in mesh.workloads.values():
        version = workload.labels.get(VERSION, "")
        if version and workload.namespace == service.namespace and selects(wanted, workload.labels):
            found[version] = True
    return sorted(found)
