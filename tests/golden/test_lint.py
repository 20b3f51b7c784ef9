"""What proxies get keeps the rules of `tests.support.lint`: all goldens, and worlds at random."""

import random
from collections.abc import Callable, Mapping

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.cors.v3.cors_pb2 import Cors
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext
from google.protobuf.message import Message
from msgspec import Struct

from libs.xds.generate import typed
from libs.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, ResourceSet, Snapshot, resource_set
from libs.xds.types import resource as made
from tests.golden.cases import Case, every
from tests.support import lint
from tests.support.examples import examples, exploring
from tests.support.histories import CLIENTS, said
from tests.support.static_envoy import refusal
from tests.support.worlds import World, pool

CASES = every()
WORLDS = 4
BEGIN, CHANGES = 200, 40
PATCHED = {"envoy-filter-matches": {"transport_is_looked_at"}}
"""What patches of a case's users break on purpose."""
BREAKS = "EnvoyFilter/shop/sidecars"
"""Whose patches these are: no world at random has it."""


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_goldens_keep_the_rules(case: Case) -> None:
    found = [
        one
        for _, whole in case.rendered()
        for one in lint.findings(whole.snapshot.sets)
        if one.rule not in PATCHED.get(case.name, set())
    ]
    assert not found


def drawn(count: int) -> list[int]:
    chance = random.Random() if exploring() else random.Random(7)  # noqa: S311 - not a secret
    return [chance.randrange(1 << 30) for _ in range(count)]


def world(seed: int) -> list[Mapping[str, ResourceSet]]:
    sound = {ref: variants for ref, variants in pool().items() if ref != BREAKS}
    assert len(sound) == len(pool()) - 1
    now = World(sound, seed)
    now.begin(BEGIN)
    for _ in range(CHANGES):
        now.change()
    return said(CLIENTS, now.resources())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", drawn(examples(WORLDS)))
def test_worlds_at_random_keep_the_rules(seed: int) -> None:
    for who, sets in zip(CLIENTS, world(seed), strict=True):
        assert not lint.findings(sets), who.node_id


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", drawn(1))
def test_envoy_accepts_a_world_at_random(seed: int) -> None:
    for who, sets in zip(CLIENTS, world(seed), strict=True):
        if "GENERATOR" not in who.metadata:
            assert not refusal(Snapshot(sets)), who.node_id


class Small(Struct):
    """A configuration that keeps all rules, to be broken."""

    cluster: Cluster
    assignment: ClusterLoadAssignment
    listener: Listener
    manager: hcm.HttpConnectionManager
    routes: RouteConfiguration

    def findings(self) -> list[lint.Finding]:
        first = self.listener.filter_chains[0]
        if first.filters:
            first.filters[0].CopyFrom(typed.network_filter("manager", self.manager))
        kinds: dict[str, dict[str, Message]] = {
            CLUSTER: {"c": self.cluster},
            ENDPOINT: {"c": self.assignment},
            LISTENER: {"l": self.listener},
            ROUTE: {"r": self.routes},
        }
        return lint.findings(
            {
                kind: resource_set(
                    kind,
                    (made(n, kind, body=m.SerializeToString()) for n, m in messages.items()),
                )
                for kind, messages in kinds.items()
            }
        )


def small() -> Small:
    router = typed.http_filter("envoy.filters.http.router", Router())
    manager = hcm.HttpConnectionManager(rds=hcm.Rds(route_config_name="r"), http_filters=[router])
    listener = Listener(name="l")
    listener.address.socket_address.port_value = 80
    inspector = typed.listener_filter("envoy.filters.listener.tls_inspector", TlsInspector())
    listener.listener_filters.append(inspector)
    chain = listener.filter_chains.add(filters=[typed.network_filter("manager", manager)])
    chain.filter_chain_match.transport_protocol = "tls"
    tls = typed.transport_socket("envoy.transport_sockets.tls", DownstreamTlsContext())
    chain.transport_socket.CopyFrom(tls)
    assignment = ClusterLoadAssignment(cluster_name="c")
    assignment.endpoints.add().lb_endpoints.add().endpoint.address.socket_address.address = "::1"
    routes = RouteConfiguration(name="r")
    host = routes.virtual_hosts.add(name="h", domains=["a.example.com"])
    host.routes.add(name="a").route.weighted_clusters.clusters.add(name="c").weight.value = 1
    return Small(Cluster(name="c", type=Cluster.EDS), assignment, listener, manager, routes)


def another_chain(by: Small, **match: object) -> None:
    first = by.listener.filter_chains[0]
    chain = by.listener.filter_chains.add()
    chain.CopyFrom(first)
    for field, value in match.items():
        setattr(chain.filter_chain_match, field, value)


def repeated_transport(by: Small) -> None:
    for value in ("a", "b"):
        match = by.cluster.transport_socket_matches.add(name="same")
        match.match.fields["kind"].string_value = value


def _set(message: object, **fields: object) -> None:
    for field, value in fields.items():
        setattr(message, field, value)


Break = Callable[[Small], object]
BROKEN: list[tuple[str, Break]] = [
    ("resources_bear_the_name_they_are_sent_under", lambda by: _set(by.cluster, name="d")),
    ("resources_bear_the_name_they_are_sent_under", lambda by: _set(by.routes, name="d")),
    (
        "resources_bear_the_name_they_are_sent_under",
        lambda by: _set(by.assignment, cluster_name="d"),
    ),
    ("endpoints_are_there", lambda by: _set(by.cluster.eds_cluster_config, service_name="d")),
    ("endpoints_are_there", lambda by: _set(by.cluster, type=Cluster.LOGICAL_DNS)),
    ("kinds_of_transport_are_there_once", repeated_transport),
    (
        "endpoints_and_localities_are_there_once",
        lambda by: by.assignment.endpoints.add(),
    ),
    (
        "endpoints_and_localities_are_there_once",
        lambda by: by.assignment.endpoints[0].lb_endpoints.append(
            by.assignment.endpoints[0].lb_endpoints[0]
        ),
    ),
    ("priorities_leave_no_gap", lambda by: by.assignment.endpoints.add(priority=2)),
    (
        "domains_and_virtual_hosts_are_there_once",
        lambda by: by.routes.virtual_hosts.add(name="i", domains=["A.example.com"]),
    ),
    (
        "domains_and_virtual_hosts_are_there_once",
        lambda by: by.routes.virtual_hosts.add(name="h", domains=["b.example.com"]),
    ),
    (
        "domains_and_virtual_hosts_are_there_once",
        lambda by: by.routes.virtual_hosts.add(name="i"),
    ),
    (
        "weights_add_up_to_something",
        lambda by: (
            by.routes.virtual_hosts[0]
            .routes[0]
            .route.weighted_clusters.clusters[0]
            .ClearField("weight")
        ),
    ),
    ("routes_are_there", lambda by: _set(by.manager.rds, route_config_name="s")),
    (
        "addresses_are_there_once",
        lambda by: by.listener.additional_addresses.add(address=by.listener.address),
    ),
    ("no_two_chains_take_the_same", another_chain),
    (
        "transport_is_said",
        lambda by: another_chain(by, transport_protocol=""),
    ),
    (
        "transport_is_looked_at",
        lambda by: by.listener.ClearField("listener_filters"),
    ),
    (
        "filters_are_there_once",
        lambda by: by.listener.listener_filters.append(by.listener.listener_filters[0]),
    ),
    (
        "filters_are_there_once",
        lambda by: by.listener.filter_chains[0].filters.append(
            by.listener.filter_chains[0].filters[0]
        ),
    ),
    (
        "filters_are_there_once",
        lambda by: by.manager.http_filters.insert(0, by.manager.http_filters[0]),
    ),
    (
        "the_router_is_last",
        lambda by: by.manager.http_filters.append(
            typed.http_filter("envoy.filters.http.cors", Cors())
        ),
    ),
    ("chains_do_something", lambda by: by.listener.filter_chains[0].ClearField("filters")),
]


def test_a_configuration_that_keeps_them_breaks_none() -> None:
    assert small().findings() == []


@pytest.mark.parametrize(("rule", "broken"), BROKEN, ids=[rule for rule, _ in BROKEN])
def test_what_breaks_a_rule_is_found(rule: str, broken: Break) -> None:
    given = small()
    broken(given)
    assert {one.rule for one in given.findings()} == {rule}


def test_every_rule_has_a_control() -> None:
    assert {rule.__name__ for rule in lint.RULES} == {rule for rule, _ in BROKEN}


def test_server_names_tell_chains_apart_whatever_their_case() -> None:
    given = small()
    match = given.listener.filter_chains[0].filter_chain_match
    match.server_names.append("a.example.com")
    another_chain(given)
    names = given.listener.filter_chains[1].filter_chain_match.server_names
    names[0] = "b.example.com"
    assert given.findings() == []
    names[0] = "A.example.com"
    assert [one.rule for one in given.findings()] == ["no_two_chains_take_the_same"]
