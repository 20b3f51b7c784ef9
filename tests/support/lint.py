"""Lint: what Envoy's own rules of messages do not know about a configuration as a whole.

Names, domains and addresses are there once, no two chains of a listener take the same connection,
chains say which transport they are for, no filter stands twice, and what is fetched by name is
there. `findings` judges everything that one proxy gets.

Server names say their transport themselves, since only TLS has them. Several RBAC filters stand in
one chain, an action each. Which clusters routes lead to is the user's business.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import product
from typing import NamedTuple, TypeVar

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import Address
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain, FilterChainMatch
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from google.protobuf.message import Message
from msgspec import Struct

from libs.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, ResourceSet

M = TypeVar("M", Cluster, ClusterLoadAssignment, Listener, RouteConfiguration)

_TLS = "tls"
_TLS_INSPECTOR = "envoy.filters.listener.tls_inspector"
_ROUTER = "envoy.filters.http.router"
_SEVERAL = frozenset({"envoy.filters.http.rbac", "envoy.filters.network.rbac"})


class Finding(NamedTuple):
    """What breaks a rule."""

    rule: str
    where: str  # a resource, and what of it
    what: str


_Found = Iterator[tuple[str, object]]


class Read(Struct, frozen=True, dict=True):
    """What a proxy gets, read."""

    sets: Mapping[str, ResourceSet]

    @cached_property
    def clusters(self) -> Mapping[str, Cluster]:
        return self._of(CLUSTER, Cluster)

    @cached_property
    def assignments(self) -> Mapping[str, ClusterLoadAssignment]:
        """Endpoints that are fetched."""
        return self._of(ENDPOINT, ClusterLoadAssignment)

    @cached_property
    def listeners(self) -> Mapping[str, Listener]:
        return self._of(LISTENER, Listener)

    @cached_property
    def fetched_routes(self) -> Mapping[str, RouteConfiguration]:
        return self._of(ROUTE, RouteConfiguration)

    @cached_property
    def chains(self) -> list[tuple[str, FilterChain]]:
        """The chains of all listeners, each with where it stands."""
        return [
            (f"{name}/{chain.name}", chain)
            for name, listener in self.listeners.items()
            for chain in _chains(listener)
        ]

    @cached_property
    def managers(self) -> list[tuple[str, hcm.HttpConnectionManager]]:
        """The connection managers of all chains and of listeners of gRPC."""
        places = [
            (where, one.typed_config)
            for where, chain in self.chains
            for one in chain.filters
            if one.typed_config.Is(hcm.HttpConnectionManager.DESCRIPTOR)
        ]
        places += [
            (name, listener.api_listener.api_listener)
            for name, listener in self.listeners.items()
            if listener.HasField("api_listener")
        ]
        return [(where, hcm.HttpConnectionManager.FromString(any_.value)) for where, any_ in places]

    @cached_property
    def routes(self) -> list[tuple[str, RouteConfiguration]]:
        """All routes, those that stand in listeners included."""
        written = [(at, one.route_config) for at, one in self.managers if not one.HasField("rds")]
        return [*self.fetched_routes.items(), *written]

    def _of(self, type_url: str, kind: type[M]) -> Mapping[str, M]:
        found = self.sets.get(type_url)
        resources = found.resources if found else {}
        return {name: kind.FromString(one.body) for name, one in resources.items()}


def findings(sets: Mapping[str, ResourceSet]) -> list[Finding]:
    """Return what is wrong with what one proxy gets."""
    read = Read(sets)
    return [
        Finding(rule.__name__, where, str(what)) for rule in RULES for where, what in rule(read)
    ]


def resources_bear_the_name_they_are_sent_under(read: Read) -> _Found:
    kinds = (read.clusters, read.listeners, read.fetched_routes)
    for name, message in ((name, one) for kind in kinds for name, one in kind.items()):
        if message.name != name:
            yield name, message.name
    for name, assignment in read.assignments.items():
        if assignment.cluster_name != name:
            yield name, assignment.cluster_name


def endpoints_are_there(read: Read) -> _Found:
    for name, cluster in read.clusters.items():
        if cluster.type == Cluster.EDS:
            wanted = cluster.eds_cluster_config.service_name or name
            if wanted not in read.assignments:
                yield name, wanted
        if cluster.type == Cluster.LOGICAL_DNS and _count(cluster) != 1:
            yield name, f"{_count(cluster)} endpoints instead of one"


def kinds_of_transport_are_there_once(read: Read) -> _Found:
    for name, cluster in read.clusters.items():
        matches = cluster.transport_socket_matches
        yield from _twice(name, (match.name for match in matches))
        yield from _twice(name, (_bytes(match.match) for match in matches))


def endpoints_and_localities_are_there_once(read: Read) -> _Found:
    for name, assignment in _all_assignments(read):
        groups = assignment.endpoints
        yield from _twice(name, ((_bytes(one.locality), one.priority) for one in groups))
        addresses = [_bytes(one.endpoint.address) for group in groups for one in group.lb_endpoints]
        yield from _twice(name, addresses)


def priorities_leave_no_gap(read: Read) -> _Found:
    for name, assignment in _all_assignments(read):
        used = sorted({group.priority for group in assignment.endpoints})
        if used != list(range(len(used))):
            yield name, used


def domains_and_virtual_hosts_are_there_once(read: Read) -> _Found:
    for name, routes in read.routes:
        hosts = routes.virtual_hosts
        yield from _twice(name, (domain.lower() for host in hosts for domain in host.domains))
        yield from _twice(name, (host.name for host in hosts))
        yield from ((name, f"{host.name} has no domain") for host in hosts if not host.domains)


def weights_add_up_to_something(read: Read) -> _Found:
    for name, routes in read.routes:
        for route in (route for host in routes.virtual_hosts for route in host.routes):
            shared = route.route.weighted_clusters.clusters
            if shared and not sum(one.weight.value for one in shared):
                yield name, route.name


def routes_are_there(read: Read) -> _Found:
    for where, manager in read.managers:
        if manager.HasField("rds") and manager.rds.route_config_name not in read.fetched_routes:
            yield where, manager.rds.route_config_name


def addresses_are_there_once(read: Read) -> _Found:
    opened = [
        (name, _place(address))
        for name, listener in read.listeners.items()
        if not listener.HasField("api_listener")
        for address in (listener.address, *(one.address for one in listener.additional_addresses))
    ]
    yield from _twice("listeners", (place for _, place in opened))


def no_two_chains_take_the_same(read: Read) -> _Found:
    for name, listener in read.listeners.items():
        takes = [key for chain in listener.filter_chains for key in _taken(chain)]
        yield from _twice(name, takes)


def transport_is_said(read: Read) -> _Found:
    for where, chain in read.chains:
        match = chain.filter_chain_match
        transport = match.transport_protocol or (_TLS if match.server_names else "")
        if chain.HasField("transport_socket") and transport != _TLS:
            yield where, f"ends TLS, but takes {transport or 'anything'}"
        if match.application_protocols and not transport:
            yield where, f"takes {list(match.application_protocols)} over anything"


def transport_is_looked_at(read: Read) -> _Found:
    for name, listener in read.listeners.items():
        matches = [chain.filter_chain_match for chain in listener.filter_chains]
        asked = any(one.transport_protocol == _TLS or one.server_names for one in matches)
        if asked and _TLS_INSPECTOR not in {one.name for one in listener.listener_filters}:
            yield name, "nobody finds out whether it is TLS"


def filters_are_there_once(read: Read) -> _Found:
    for name, listener in read.listeners.items():
        yield from _twice(name, (one.name for one in listener.listener_filters))
    lists: list[tuple[str, Sequence[Filter | hcm.HttpFilter]]] = []
    lists += ((where, list(chain.filters)) for where, chain in read.chains)
    lists += ((where, list(manager.http_filters)) for where, manager in read.managers)
    for where, filters in lists:
        yield from _twice(where, (one.name for one in filters if one.name not in _SEVERAL))
        yield from _twice(where, map(_bytes, filters))


def the_router_is_last(read: Read) -> _Found:
    for where, manager in read.managers:
        names = [one.name for one in manager.http_filters]
        if names[-1:] != [_ROUTER]:
            yield where, names


def chains_do_something(read: Read) -> _Found:
    yield from ((where, "no filter") for where, chain in read.chains if not chain.filters)


RULES: tuple[Callable[[Read], _Found], ...] = (
    resources_bear_the_name_they_are_sent_under,
    endpoints_are_there,
    kinds_of_transport_are_there_once,
    endpoints_and_localities_are_there_once,
    priorities_leave_no_gap,
    domains_and_virtual_hosts_are_there_once,
    weights_add_up_to_something,
    routes_are_there,
    addresses_are_there_once,
    no_two_chains_take_the_same,
    transport_is_said,
    transport_is_looked_at,
    filters_are_there_once,
    the_router_is_last,
    chains_do_something,
)


def _twice(where: str, keys: Iterable[Hashable]) -> _Found:
    yield from ((where, key) for key, count in Counter(keys).items() if count > 1)


def _bytes(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def _chains(listener: Listener) -> Iterator[FilterChain]:
    yield from listener.filter_chains
    if listener.HasField("default_filter_chain"):
        yield listener.default_filter_chain


def _count(cluster: Cluster) -> int:
    return sum(len(group.lb_endpoints) for group in cluster.load_assignment.endpoints)


def _all_assignments(read: Read) -> Iterator[tuple[str, ClusterLoadAssignment]]:
    yield from read.assignments.items()
    yield from ((name, cluster.load_assignment) for name, cluster in read.clusters.items())


def _place(address: Address) -> Hashable:
    socket = address.socket_address
    return socket.address.lower(), socket.port_value, socket.protocol, address.pipe.path


def _taken(chain: FilterChain) -> Iterator[Hashable]:
    """Yield every combination of the values that a chain matches."""
    match: FilterChainMatch = chain.filter_chain_match
    ranges = (match.prefix_ranges, match.direct_source_prefix_ranges, match.source_prefix_ranges)
    choices: list[Iterable[Hashable]] = [
        [match.destination_port.value],
        [match.transport_protocol],
        [match.source_type],
        [name.lower() for name in match.server_names] or [""],
        list(match.application_protocols) or [""],
        list(match.source_ports) or [0],
        *([(one.address_prefix, one.prefix_len.value) for one in of] or [("", 0)] for of in ranges),
    ]
    yield from product(*choices)
