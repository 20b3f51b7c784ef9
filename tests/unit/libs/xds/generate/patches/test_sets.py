"""Each kind of patch, as people write it, at what a small mesh gives."""

from typing import TypeVar

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from google.protobuf.message import Message

from libs.model.patches import PatchSet
from libs.model.security import MtlsMode
from libs.model.service import Protocol, Service
from libs.proxy.scoper import Scoper
from libs.xds import generate, outcomes
from libs.xds.types import CLUSTER, LISTENER, ROUTE, Snapshot
from tests.support.mesh import endpoints, mesh, peer_policy, port, proxy, service, workload
from tests.support.patches import patch_set

UNKNOWN_TYPE = """{applyTo: HTTP_FILTER, patch: {operation: ADD, value: {
    name: x, typed_config: {"@type": type.googleapis.com/stats.PluginConfig}}}}"""
M = TypeVar("M", bound=Message)
WEB = service("web", port(80), selector={"app": "web"})
DB = service("db", port(5432, Protocol.TCP))
RPC = service("rpc", port(9000, Protocol.GRPC))
ROWS = (
    WEB,
    DB,
    endpoints(WEB, "10.244.0.9"),
    workload("client", addresses=("10.244.0.9",), labels={"app": "web"}),
    peer_policy("strict", mode=MtlsMode.STRICT),
)
WEB_CLUSTER = f"outbound|80||{WEB.host}"
LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"
MANAGER = "envoy.filters.network.http_connection_manager"


def snapshot(*sets: PatchSet | Service, version: str = "1.30.0", **client: object) -> Snapshot:
    client = {"version": version, **client}
    return generate.snapshot(Scoper().scope(mesh(*ROWS, *sets), proxy(**client)))


def patched(text: str, **client: object) -> Snapshot:
    """Return what a proxy gets after one EnvoyFilter, of which every patch did something."""
    found = snapshot(patch_set(text), **client)
    for outcome in outcomes.summed(found.sets.values()):
        assert outcomes.finding(outcome) == "", outcome
    return found


def findings(*sets: PatchSet) -> list[str]:
    summed = outcomes.summed(snapshot(*sets).sets.values())
    return [outcomes.finding(outcome) for outcome in summed]


def read(found: Snapshot, type_url: str, kind: type[M], name: str) -> M:
    return kind.FromString(found.of(type_url).resources[name].body)


def cluster(found: Snapshot, name: str = WEB_CLUSTER) -> Cluster:
    return read(found, CLUSTER, Cluster, name)


def listener(found: Snapshot, name: str) -> Listener:
    return read(found, LISTENER, Listener, name)


def routes(found: Snapshot, name: str = "80") -> RouteConfiguration:
    return read(found, ROUTE, RouteConfiguration, name)


def manager(chain: FilterChain) -> hcm.HttpConnectionManager:
    return hcm.HttpConnectionManager.FromString(chain.filters[-1].typed_config.value)


def test_without_patches_the_very_same_resources_are_passed_on() -> None:
    scoper = Scoper()
    plain = mesh(*ROWS)
    other = patch_set("[]", workloadSelector={"labels": {"app": "other"}})
    before = generate.snapshot(scoper.scope(plain, proxy()))
    after = generate.snapshot(scoper.scope(mesh(other, before=plain), proxy()))
    for type_url in generate.GENERATORS:
        old, new = before.of(type_url).resources, after.of(type_url).resources
        assert old.keys() == new.keys()
        assert after.of(type_url).outcomes == ()
    assert before.of(CLUSTER).resources[WEB_CLUSTER] is after.of(CLUSTER).resources[WEB_CLUSTER]


def test_only_what_was_patched_is_made_anew_and_says_by_whom() -> None:
    before = snapshot()
    after = patched("""
        - applyTo: CLUSTER
          match: {cluster: {service: web.shop.svc.cluster.local, portNumber: 80}, context: SIDECAR_OUTBOUND}
          patch: {operation: MERGE, value: {connect_timeout: 1s}}
        """)  # noqa: E501
    differ = [
        name
        for name, one in after.of(CLUSTER).resources.items()
        if one.version != before.of(CLUSTER).resources[name].version
    ]
    assert differ == [WEB_CLUSTER]
    assert "EnvoyFilter/shop/p" in after.of(CLUSTER).resources[WEB_CLUSTER].sources
    assert "EnvoyFilter/shop/p" not in after.of(CLUSTER).resources["BlackHoleCluster"].sources
    assert cluster(after).connect_timeout.seconds == 1


def test_lists_are_appended_to_or_replaced_and_false_can_be_said() -> None:
    merge = """
        - applyTo: ROUTE_CONFIGURATION
          match: {routeConfiguration: {name: "80"}}
          patch: {operation: %s, value: {request_headers_to_remove: [%s]}}
        """
    first = patch_set(merge % ("MERGE", "a"), "a")
    second = patch_set(merge % ("MERGE", "b"), "b")
    replacing = patch_set(merge % ("MERGE_AND_REPLACE_LIST", "c"), "c")
    assert routes(snapshot(first, second)).request_headers_to_remove == ["a", "b"]
    assert routes(snapshot(first, replacing)).request_headers_to_remove == ["c"]
    off = patched("""
        - applyTo: LISTENER
          match: {listener: {name: 0.0.0.0_80}}
          patch: {operation: MERGE, value: {bind_to_port: true}}
        - applyTo: LISTENER
          match: {listener: {name: 0.0.0.0_80}}
          patch: {operation: MERGE, value: {bind_to_port: false}}
        """)
    assert listener(off, "0.0.0.0_80").bind_to_port.value is False


def test_an_inbound_port_is_the_target_port_and_a_service_is_found_by_its_host() -> None:
    for condition in ("portNumber: 80", f"service: {WEB.host}", 'name: "inbound|80||"'):
        found = patched(f"""
            - applyTo: CLUSTER
              match: {{context: SIDECAR_INBOUND, cluster: {{{condition}}}}}
              patch: {{operation: MERGE, value: {{connect_timeout: 1s}}}}
            """)
        assert cluster(found, "inbound|80||").connect_timeout.seconds == 1
        assert cluster(found).connect_timeout.seconds == 10


def test_clusters_are_added_once_and_removed() -> None:
    found = patched("""
        - {applyTo: CLUSTER, patch: {operation: ADD, value: {name: mine, connect_timeout: 1s}}}
        - {applyTo: CLUSTER, match: {cluster: {service: db.shop.svc.cluster.local}}, patch: {operation: REMOVE}}
        """)  # noqa: E501
    assert cluster(found, "mine").connect_timeout.seconds == 1
    assert f"outbound|5432||{DB.host}" not in found.of(CLUSTER).resources
    taken = patch_set(f"""
        - {{applyTo: CLUSTER, patch: {{operation: ADD, value: {{name: "{WEB_CLUSTER}"}}}}}}
        """)
    assert "one of this name" in findings(taken)[0]
    assert WEB_CLUSTER in snapshot(taken).of(CLUSTER).resources


@pytest.mark.parametrize(
    ("operation", "sub_filter", "place"),
    [
        ("INSERT_FIRST", "", 0),
        ("INSERT_BEFORE", "", 0),
        ("INSERT_BEFORE", "envoy.filters.http.router", -2),
        ("INSERT_BEFORE", "envoy.router", -2),
        ("INSERT_AFTER", "envoy.filters.http.fault", -3),
        ("ADD", "", -2),  # in front of the router, which has to be the last
    ],
)
def test_http_filters_go_where_they_are_told(operation: str, sub_filter: str, place: int) -> None:
    sub = f", subFilter: {{name: {sub_filter}}}" if sub_filter else ""
    found = patched(f"""
        - applyTo: HTTP_FILTER
          match:
            context: SIDECAR_OUTBOUND
            listener: {{portNumber: 80, filterChain: {{filter: {{name: {MANAGER}{sub}}}}}}}
          patch: {{operation: {operation}, value: {{name: mine, typed_config: {{"@type": {LUA}}}}}}}
        """)
    (chain,) = listener(found, "0.0.0.0_80").filter_chains
    names = [one.name for one in manager(chain).http_filters]
    assert names.index("mine") == place % len(names)
    assert names[-1] == "envoy.filters.http.router"


def test_filters_are_replaced_merged_and_removed() -> None:
    found = patched(f"""
        - applyTo: HTTP_FILTER
          match: {{context: SIDECAR_OUTBOUND, listener: {{filterChain: {{filter: {{name: {MANAGER}, subFilter: {{name: envoy.filters.http.fault}}}}}}}}}}
          patch: {{operation: REMOVE}}
        - applyTo: HTTP_FILTER
          match: {{context: SIDECAR_OUTBOUND, listener: {{filterChain: {{filter: {{name: {MANAGER}, subFilter: {{name: envoy.filters.http.cors}}}}}}}}}}
          patch: {{operation: REPLACE, value: {{name: mine, typed_config: {{"@type": {LUA}}}}}}}
        - applyTo: HTTP_FILTER
          match: {{context: SIDECAR_OUTBOUND, listener: {{filterChain: {{filter: {{name: {MANAGER}, subFilter: {{name: envoy.filters.http.router}}}}}}}}}}
          patch:
            operation: MERGE
            value:
              name: envoy.filters.http.router
              typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true}}
        """)  # noqa: E501
    (chain,) = listener(found, "0.0.0.0_80").filter_chains
    filters = manager(chain).http_filters
    names = [one.name for one in filters]
    assert "envoy.filters.http.fault" not in names
    assert "envoy.filters.http.cors" not in names
    assert "mine" in names
    assert filters[-1].typed_config.value  # no longer empty


def test_a_port_chooses_one_chain_of_the_listener_for_all_ports() -> None:
    found = patched(f"""
        - applyTo: NETWORK_FILTER
          match: {{context: SIDECAR_INBOUND, listener: {{portNumber: 80, filterChain: {{filter: {{name: {MANAGER}}}}}}}}}
          patch:
            operation: MERGE
            value:
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                server_name: mine
        """)  # noqa: E501
    named = {
        chain.name: manager(chain).server_name
        for chain in listener(found, "virtualInbound").filter_chains
        if chain.filters[-1].name == MANAGER
    }
    assert named.pop("0.0.0.0_80") == "mine"
    assert set(named.values()) == {"istio-envoy"}


def test_chains_and_listener_filters_come_and_go() -> None:
    found = patched("""
        - applyTo: FILTER_CHAIN
          match: {context: SIDECAR_INBOUND, listener: {filterChain: {name: virtualInbound-catchall-http}}}
          patch: {operation: REMOVE}
        - applyTo: LISTENER_FILTER
          match: {context: SIDECAR_INBOUND, listener: {listenerFilter: envoy.filters.listener.tls_inspector}}
          patch:
            operation: INSERT_BEFORE
            value:
              name: envoy.filters.listener.proxy_protocol
              typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol}
        - applyTo: LISTENER
          match: {context: SIDECAR_OUTBOUND, listener: {name: 0.0.0.0_80}}
          patch: {operation: REMOVE}
        """)  # noqa: E501
    inbound = listener(found, "virtualInbound")
    assert "virtualInbound-catchall-http" not in {chain.name for chain in inbound.filter_chains}
    names = [one.name for one in inbound.listener_filters]
    at = names.index("envoy.filters.listener.tls_inspector")
    assert names[at - 1] == "envoy.filters.listener.proxy_protocol"
    assert "0.0.0.0_80" not in found.of(LISTENER).resources


def test_routes_are_patched_where_they_are_fetched_and_where_they_stand_in_listeners() -> None:
    found = patched("""
        - applyTo: HTTP_ROUTE
          match: {context: SIDECAR_OUTBOUND, routeConfiguration: {portNumber: 80, vhost: {name: "web.shop.svc.cluster.local:80", route: {name: default}}}}
          patch: {operation: INSERT_AFTER, value: {name: after, match: {prefix: /}, direct_response: {status: 204}}}
        - applyTo: VIRTUAL_HOST
          match: {context: SIDECAR_OUTBOUND, routeConfiguration: {vhost: {name: allow_any}}}
          patch: {operation: REMOVE}
        - applyTo: VIRTUAL_HOST
          match: {context: SIDECAR_INBOUND, routeConfiguration: {portNumber: 80}}
          patch: {operation: MERGE, value: {require_tls: ALL}}
        """)  # noqa: E501
    (host,) = routes(found).virtual_hosts
    assert [route.name for route in host.routes] == ["default", "after"]
    chains = listener(found, "virtualInbound").filter_chains
    (inside,) = (chain for chain in chains if chain.name == "0.0.0.0_80")
    assert manager(inside).route_config.virtual_hosts[0].require_tls


def test_lesser_priority_goes_first_then_the_root_namespace_then_the_older() -> None:
    merge = """
        - applyTo: CLUSTER
          match: {cluster: {name: "%s"}}
          patch: {operation: MERGE, value: {connect_timeout: %ds}}
        """
    own = patch_set(merge % (WEB_CLUSTER, 1), "own")
    root = patch_set(merge % (WEB_CLUSTER, 2), "root", "istio-system")
    late = patch_set(merge % (WEB_CLUSTER, 3), "late", "istio-system", priority=5)
    assert cluster(snapshot(own, root)).connect_timeout.seconds == 1
    assert cluster(snapshot(own, root, late)).connect_timeout.seconds == 3
    elsewhere = patch_set(merge % (WEB_CLUSTER, 9), "elsewhere", "store")
    assert cluster(snapshot(elsewhere)).connect_timeout.seconds == 10


def test_conditions_on_the_proxy() -> None:
    text = """
        - applyTo: CLUSTER
          match: {proxy: {%s}, cluster: {name: "%s"}}
          patch: {operation: MERGE, value: {connect_timeout: 1s}}
        """
    for condition, applies in (
        ("proxyVersion: '^1\\.30'", True),
        ("proxyVersion: '^1\\.2'", False),
        ("metadata: {TIER: front}", True),
        ("metadata: {TIER: back}", False),
    ):
        row = patch_set(text % (condition, WEB_CLUSTER))
        found = snapshot(row, metadata={"TIER": "front"})
        assert (cluster(found).connect_timeout.seconds == 1) is applies, condition


def test_an_expression_that_would_backtrack_for_ever_costs_nothing() -> None:
    from libs.proxy import additions  # noqa: PLC0415

    assert not additions._matches("(a*)*" * 400, "a" * 10_000 + "b")
    assert not additions._matches("[", "1.30")
    assert additions._matches("(a+)+$", "a" * 10_000)


@pytest.mark.parametrize(
    ("patch", "finding"),
    [
        ("{applyTo: CLUSTER, patch: {operation: ADD, value: {name: x, nonsense: 1}}}", "nonsense"),
        (
            "{applyTo: CLUSTER, patch: {operation: MERGE, value: {connect_timeout: soon}}}",
            "connect_timeout",
        ),
        (
            "{applyTo: CLUSTER, match: {cluster: {name: none}}, patch: {operation: REMOVE}}",
            "matches nothing",
        ),
        (
            UNKNOWN_TYPE,
            "stats.PluginConfig",
        ),
    ],
)
def test_what_does_not_fit_is_said_and_all_else_goes_on(patch: str, finding: str) -> None:
    good = "{applyTo: CLUSTER, patch: {operation: ADD, value: {name: good}}}"
    row = patch_set(f"- {patch}\n- {good}")
    said, nothing = findings(row)
    assert finding in said
    assert nothing == ""
    assert "good" in snapshot(row).of(CLUSTER).resources


def test_a_value_is_shared_by_all_proxies_and_changed_by_none() -> None:
    row = patch_set(f"""
        - applyTo: HTTP_FILTER
          match: {{context: SIDECAR_OUTBOUND}}
          patch: {{operation: INSERT_FIRST, value: {{name: mine, typed_config: {{"@type": {LUA}}}}}}}
        - applyTo: HTTP_FILTER
          match: {{context: SIDECAR_OUTBOUND, listener: {{filterChain: {{filter: {{name: {MANAGER}, subFilter: {{name: mine}}}}}}}}}}
          patch: {{operation: MERGE, value: {{name: renamed}}}}
        """)  # noqa: E501
    assert snapshot(row).of(LISTENER).version == snapshot(row).of(LISTENER).version


def http_filters(found: Snapshot, name: str) -> list[str]:
    (chain,) = listener(found, name).filter_chains
    return [one.name for one in manager(chain).http_filters]


def test_a_script_of_ours_is_nobodys_to_merge_with_unnamed() -> None:
    row = patch_set(f"""
        - applyTo: HTTP_FILTER
          match: {{context: SIDECAR_OUTBOUND, listener: {{filterChain: {{filter: {{name: {MANAGER}}}}}}}}}
          patch: {{operation: MERGE, value: {{name: mine, typed_config: {{"@type": {LUA}}}}}}}
        """)  # noqa: E501
    names = http_filters(snapshot(row, RPC), "0.0.0.0_9000")
    assert "istio.grpc_messages" in names
    assert "mine" not in names


@pytest.mark.parametrize(
    ("sub_filter", "patch", "follower"),
    [
        ("", "operation: ADD, filterClass: STATS", "istio.grpc_messages"),
        ("istio.metadata_exchange", "operation: INSERT_AFTER", "istio.grpc_messages"),
        ("envoy.filters.http.grpc_stats", "operation: INSERT_AFTER", "istio.alpn"),
        ("envoy.filters.http.router", "operation: INSERT_BEFORE", "envoy.filters.http.router"),
    ],
)
def test_filters_find_their_place_beside_those_that_count_messages(
    sub_filter: str, patch: str, follower: str
) -> None:
    beside = f", subFilter: {{name: {sub_filter}}}" if sub_filter else ""
    mine = patch_set(f"""
        - applyTo: HTTP_FILTER
          match: {{context: SIDECAR_OUTBOUND, listener: {{filterChain: {{filter: {{name: {MANAGER}{beside}}}}}}}}}
          patch: {{{patch}, value: {{name: mine, typed_config: {{"@type": {LUA}}}}}}}
        """)  # noqa: E501
    names = http_filters(snapshot(mine, RPC), "0.0.0.0_9000")
    assert names[names.index("mine") + 1] == follower
    assert names.index("istio.grpc_messages") < names.index("envoy.filters.http.grpc_stats")


def test_a_port_never_stands_for_the_whole_listener_of_all_ports() -> None:
    removal = """
        - applyTo: LISTENER
          match: {{context: SIDECAR_INBOUND, listener: {{portNumber: {port}}}}}
          patch: {{operation: REMOVE}}
        """
    nobody = patch_set(removal.format(port=80))
    assert "virtualInbound" in snapshot(nobody).of(LISTENER).resources
    assert findings(nobody) == ["the patch matches nothing"]
    gone = patched(removal.format(port=15006)).of(LISTENER).resources
    assert "virtualInbound" not in gone


@pytest.mark.parametrize(("action", "first"), [("ROUTE", "mine"), ("REDIRECT", "default")])
def test_a_route_is_first_only_where_there_is_one_that_it_names(action: str, first: str) -> None:
    found = patch_set(f"""
        - applyTo: HTTP_ROUTE
          match: {{context: SIDECAR_OUTBOUND, routeConfiguration: {{vhost: {{route: {{action: {action}}}}}}}}}
          patch: {{operation: INSERT_FIRST, value: {{name: mine, match: {{prefix: /}}, direct_response: {{status: 204}}}}}}
        """)  # noqa: E501
    hosts = routes(snapshot(found), "80").virtual_hosts
    (host,) = [one for one in hosts if WEB.host in one.domains]
    assert host.routes[0].name == first
