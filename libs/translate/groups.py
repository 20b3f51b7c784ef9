"""Groups: how a rule finds resources and rows by something else than their own key.

A new way to look something up is one member here and one line in `of_resource` or `of_row`.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from libs.api.ingress import Ingress
from libs.api.kubernetes import EndpointSlice, Node
from libs.api.networking.proxy_config import ProxyConfig
from libs.api.networking.service_entry import ServiceEntry
from libs.api.resource import Resource
from libs.api.secret import Secret
from libs.model.gateway import Gateway
from libs.model.mesh import Table
from libs.model.networks import Networks
from libs.model.security import AccessPolicy, Action, PeerPolicy
from libs.model.service import Service
from libs.model.traffic import MESH_GATEWAY, HostPolicy, Routing
from libs.model.workload import Workload
from libs.translate import auto_addresses

SERVICE_NAME = "kubernetes.io/service-name"
"""The label by which an endpoint slice names its service."""

MULTI_CLUSTER_NAME = "multicluster.kubernetes.io/service-name"
"""The label of slices that were imported from another cluster, for another host."""


ANY_HOST = "*"
"""The host of an Ingress' rule that names none."""


class Group(StrEnum):
    """The groups; the comment names the members and the key."""

    SLICES = "slices of service"  # EndpointSlices, by `<namespace>/<service name>`
    SERVICES = "services by host"  # Service rows, by host
    DECLARERS = "service entries by host"  # ServiceEntries, by `<namespace>/<host>`
    DECLARED = "service entries by host everywhere"  # ServiceEntries, by host
    CLAIMS = "service entries by number"  # ServiceEntries that want it as an address, by number
    WORKLOADS = "workloads by address"  # Workload rows, by `<namespace>/<address>`
    LABELLED = "workloads by label"  # Workload rows, by `<namespace>/<label>=<value>`
    ENTRIES = "workload entries by label"  # those of them that are no pods, by the same
    ROUTINGS = "routings by host"  # Routing rows of sidecars, by host
    GATEWAYS = "gateways"  # all Gateway rows, by ""
    INGRESSES = "ingresses by host"  # Ingresses, by host as written, `*` if there is none
    PROXY_CONFIGS = "proxy configs"  # ProxyConfigs, by namespace
    NODES = "nodes"  # all Nodes, by ""
    SECRETS = "secrets by name"  # Secrets of all namespaces, by name
    CUSTOM_POLICIES = "policies with authorizers"  # AccessPolicy rows of them, by namespace
    HOST_POLICIES = "host policies by host"  # HostPolicy rows, by host as written, maybe a pattern
    WIDE_PEER_POLICIES = "peer policies by namespace"  # those without a selector, by namespace
    PEER_POLICIES = "all peer policies by namespace"  # PeerPolicy rows, by namespace
    ENTERED = "gateways by network"  # Networks rows, by the networks of their gateways


Membership = tuple[Group, str]


def of_resource(resource: Resource) -> Iterator[Membership]:
    """Yield the groups that a resource belongs to."""
    grouping = _OF_RESOURCE.get(type(resource))
    return grouping(resource) if grouping else iter(())


def _endpoint_slice(resource: EndpointSlice) -> Iterator[Membership]:
    labels = resource.metadata.labels
    name = labels.get(SERVICE_NAME)
    if name and MULTI_CLUSTER_NAME not in labels:
        yield Group.SLICES, f"{resource.metadata.namespace}/{name}"


def _ingress(resource: Ingress) -> Iterator[Membership]:
    for host in {rule.host or ANY_HOST for rule in resource.spec.rules}:
        yield Group.INGRESSES, host


def _node(_: Node) -> Iterator[Membership]:
    yield Group.NODES, ""


def _proxy_config(resource: ProxyConfig) -> Iterator[Membership]:
    yield Group.PROXY_CONFIGS, resource.metadata.namespace


def _secret(resource: Secret) -> Iterator[Membership]:
    yield Group.SECRETS, resource.metadata.name


def _service_entry(resource: ServiceEntry) -> Iterator[Membership]:
    for host in {host.lower() for host in resource.spec.hosts}:
        yield Group.DECLARERS, f"{resource.metadata.namespace}/{host}"
        yield Group.DECLARED, host
    for claim in auto_addresses.claims(resource):
        for number in claim.choices():
            yield Group.CLAIMS, str(number)


_OF_RESOURCE: Mapping[type[Resource], Callable[[Any], Iterator[Membership]]] = {
    EndpointSlice: _endpoint_slice,
    Ingress: _ingress,
    Node: _node,
    ProxyConfig: _proxy_config,
    Secret: _secret,
    ServiceEntry: _service_entry,
}


def of_row(table: Table, row: Struct) -> Iterator[Membership]:
    """Yield the groups that a row belongs to."""
    grouping = _OF_ROW.get(table)
    return grouping(row) if grouping else iter(())


def _service(row: Service) -> Iterator[Membership]:
    yield Group.SERVICES, row.host


def _workload(row: Workload) -> Iterator[Membership]:
    for address in row.addresses:
        yield Group.WORKLOADS, f"{row.namespace}/{address}"
    for label, value in row.labels.items():
        yield Group.LABELLED, f"{row.namespace}/{label}={value}"
        if row.entry:
            yield Group.ENTRIES, f"{row.namespace}/{label}={value}"


def _routing(row: Routing) -> Iterator[Membership]:
    if MESH_GATEWAY in row.gateways:
        for host in row.hosts:
            yield Group.ROUTINGS, host


def _gateway(_: Gateway) -> Iterator[Membership]:
    yield Group.GATEWAYS, ""


def _host_policy(row: HostPolicy) -> Iterator[Membership]:
    yield Group.HOST_POLICIES, row.host


def _access_policy(row: AccessPolicy) -> Iterator[Membership]:
    if row.action is Action.CUSTOM and not row.dry_run:
        yield Group.CUSTOM_POLICIES, row.namespace


def _networks(row: Networks) -> Iterator[Membership]:
    for network in {gateway.network for gateway in row.gateways if gateway.addresses}:
        yield Group.ENTERED, network


def _peer_policy(row: PeerPolicy) -> Iterator[Membership]:
    yield Group.PEER_POLICIES, row.namespace
    if not row.selector:
        yield Group.WIDE_PEER_POLICIES, row.namespace


_OF_ROW: Mapping[Table, Callable[[Any], Iterator[Membership]]] = {
    Table.SERVICE: _service,
    Table.WORKLOAD: _workload,
    Table.ROUTING: _routing,
    Table.GATEWAY: _gateway,
    Table.HOST_POLICY: _host_policy,
    Table.NETWORKS: _networks,
    Table.PEER_POLICY: _peer_policy,
    Table.ACCESS_POLICY: _access_policy,
}
