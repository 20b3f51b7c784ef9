"""Endpoints: the load assignment of one cluster, grouped by locality, with weights and priorities.

Metadata of an endpoint says whether its sidecar speaks mesh TLS and which workload it is. Which
endpoints a cluster has is decided by `libs.proxy.endpoints`.
"""

from collections.abc import Iterable, Mapping

from envoy.config.core.v3.address_pb2 import Address, Pipe, SocketAddress
from envoy.config.core.v3.base_pb2 import Locality as EnvoyLocality
from envoy.config.core.v3.health_check_pb2 import HealthStatus
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from msgspec import structs

from libs.model.endpoint import Endpoint, Health, Locality
from libs.model.workload import canonical_service
from libs.proxy.memo import WeakMemo
from libs.proxy.networks import MAX_WEIGHT
from libs.proxy.scope import EndpointScope
from libs.xds.generate import endpoint_priority
from libs.xds.generate.endpoint_priority import Group
from libs.xds.types import ENDPOINT, NamedResource, resource

_STATUS = {
    Health.HEALTHY: HealthStatus.HEALTHY,
    Health.UNHEALTHY: HealthStatus.UNHEALTHY,
    Health.DRAINING: HealthStatus.DRAINING,
}

_memo: WeakMemo[NamedResource] = WeakMemo()


def generate(scope: EndpointScope) -> NamedResource:
    """Return the load assignment of one cluster; the same object for the same scope."""
    return _memo.get(scope, (), lambda: _resource(scope))


def assignment(scope: EndpointScope) -> ClusterLoadAssignment:
    """Return the load assignment of a cluster, as it also stands in one whose endpoints are names.

    Endpoints are grouped by locality; priorities and weights are those of the scope's clients.
    """
    groups = _once(endpoint_priority.arrange(_by_locality(scope.endpoints), scope))
    disabled = frozenset(scope.mtls_disabled_ports)
    return ClusterLoadAssignment(
        cluster_name=scope.cluster,
        endpoints=[_locality(group, scope, disabled) for group in groups],
    )


def _resource(scope: EndpointScope) -> NamedResource:
    body = assignment(scope).SerializeToString(deterministic=True)
    return resource(scope.cluster, ENDPOINT, body=body, sources=scope.refs)


def _by_locality(endpoints: Iterable[Endpoint]) -> list[Group]:
    found: dict[Locality, list[Endpoint]] = {}
    for endpoint in endpoints:
        found.setdefault(endpoint.locality, []).append(endpoint)
    in_order = sorted(found.items(), key=lambda item: _label(item[0]))
    return [
        Group(place, tuple(members), sum(member.weight for member in members))
        for place, members in in_order
    ]


def _once(groups: list[Group]) -> list[Group]:
    """Return the groups with each gateway once: of an address that comes again Envoy takes no note.

    It stands for endpoints of several localities. Where they come first it is left, with the
    weights that it has at that priority: who goes there later would find the same gateway.
    """
    entered = [(group, one) for group in groups for one in group.endpoints if one.gateway]
    if not entered:
        return groups
    first: dict[tuple[str, int], int] = {}
    for group, one in entered:
        place = (one.address, one.port)
        first[place] = min(group.priority, first.get(place, group.priority))
    weights: dict[tuple[str, int], int] = {}
    for group, one in entered:
        place = (one.address, one.port)
        if group.priority == first[place]:
            weights[place] = min(weights.get(place, 0) + one.weight, MAX_WEIGHT)
    return [_with_gateways(group, first, weights) for group in groups]


def _with_gateways(
    group: Group, first: Mapping[tuple[str, int], int], weights: dict[tuple[str, int], int]
) -> Group:
    """Return a group with the gateways that belong there; `weights` has those not yet placed."""
    kept: list[Endpoint] = []
    for one in group.endpoints:
        place = (one.address, one.port)
        if not one.gateway:
            kept.append(one)
        elif group.priority == first[place] and place in weights:
            kept.append(structs.replace(one, weight=weights.pop(place)))
    summed = group.weight == sum(one.weight for one in group.endpoints)
    weight = sum(one.weight for one in kept) if summed and kept else group.weight
    return structs.replace(group, endpoints=tuple(kept), weight=min(weight, MAX_WEIGHT))


def _label(place: Locality) -> str:
    return f"{place.region}/{place.zone}/{place.subzone}"


def _locality(
    group: Group, scope: EndpointScope, disabled: frozenset[tuple[str, int]]
) -> LocalityLbEndpoints:
    found = LocalityLbEndpoints(
        lb_endpoints=[_endpoint(member, scope, disabled) for member in group.endpoints],
        priority=group.priority,
    )
    place = group.locality
    found.locality.CopyFrom(
        EnvoyLocality(region=place.region, zone=place.zone, sub_zone=place.subzone)
    )
    found.load_balancing_weight.value = group.weight
    return found


def _endpoint(
    endpoint: Endpoint, scope: EndpointScope, disabled: frozenset[tuple[str, int]]
) -> LbEndpoint:
    found = LbEndpoint(health_status=_STATUS[endpoint.health])
    found.endpoint.address.CopyFrom(address(endpoint.address, endpoint.port))
    for other in endpoint.others:
        further = found.endpoint.additional_addresses.add()
        further.address.CopyFrom(address(other, endpoint.port))
    found.load_balancing_weight.value = endpoint.weight
    speaks = endpoint.mtls and scope.mesh_tls
    if speaks and (endpoint.address, endpoint.port) not in disabled:
        match = found.metadata.filter_metadata["envoy.transport_socket_match"]
        match.fields["tlsMode"].string_value = "istio"
    _describe(found, endpoint, scope.cluster_id)
    return found


def _describe(found: LbEndpoint, endpoint: Endpoint, cluster_id: str) -> None:
    """Say in few bytes which workload an endpoint is; telemetry wants to know.

    Other than Istio's own filters, access log formats cannot take a text apart: what they need
    stands there once more by itself.
    """
    name = endpoint.workload_name
    canonical, revision = canonical_service(endpoint.labels, name)
    shown = "" if revision == "latest" else revision
    parts = (name, endpoint.namespace, canonical, shown, cluster_id)
    fields = found.metadata.filter_metadata["istio"].fields
    fields["workload"].string_value = ";".join(parts)
    labels = endpoint.labels
    told = {"name": name, "canonical": canonical, "revision": shown}
    told |= {"app": labels.get("app", ""), "version": labels.get("version", "")}
    for key, part in told.items():
        if part:
            fields[key].string_value = part


def address(host: str, port: int) -> Address:
    """Return where to connect: an address and port, or the path of a Unix socket."""
    if host.startswith("unix://"):
        return Address(pipe=Pipe(path=host.removeprefix("unix://")))
    return Address(socket_address=SocketAddress(address=host, port_value=port))
