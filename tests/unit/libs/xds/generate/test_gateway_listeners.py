"""Chains of gateways: which connections each takes, and that no name leads where it must not."""

import pytest
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from msgspec import Struct

from libs.model.gateway import Gateway, ServerTls, ServerTlsMode
from libs.model.service import Protocol, Resolution
from libs.model.traffic import Destination, StreamMatch, StreamRoute, Subset, WeightedDestination
from libs.proxy.node import ProxyType
from tests.support import mesh, scopes

WEB = mesh.service("web")
TO_WEB = (WeightedDestination(Destination(WEB.host, port=80)),)
PASSING = ServerTls(mode=ServerTlsMode.PASSTHROUGH)
BY_NAME = ServerTls(mode=ServerTlsMode.AUTO_PASSTHROUGH)


def listeners(*rows: Struct, **client: object) -> dict[str, Listener]:
    client = {"type": ProxyType.ROUTER, **client}
    return scopes.listeners(*rows, **client)


def gateway(tls: ServerTls, *hosts: str) -> Gateway:
    return mesh.gateway("g", mesh.server(443, Protocol.TLS, hosts, tls=tls))


def names(listener: Listener) -> list[list[str]]:
    return [list(chain.filter_chain_match.server_names) for chain in listener.filter_chains]


def cluster(chain: FilterChain) -> str:
    return TcpProxy.FromString(chain.filters[-1].typed_config.value).cluster


def rule(*sni: str, port: int = 0) -> StreamRoute:
    return StreamRoute((StreamMatch(sni_hosts=sni, port=port),), TO_WEB)


def bound(*rules: StreamRoute, namespace: str = "shop") -> Struct:
    hosts = tuple(name for one in rules for match in one.matches for name in match.sni_hosts)
    return mesh.routing("r", *hosts, namespace=namespace, gateways=("shop/g",), tls=rules)


def test_nothing_that_is_served_is_no_listener() -> None:
    assert listeners(WEB, gateway(PASSING, "*")) == {}
    assert listeners(WEB, mesh.gateway("g", mesh.server(81, Protocol.TCP))) == {}


def test_each_rule_has_a_chain_and_a_name_only_one() -> None:
    rules = (rule("a.com", "b.com"), rule("b.com", "c.com"), rule("a.com"), rule("d.com", port=444))
    (listener,) = listeners(WEB, gateway(PASSING, "*"), bound(*rules)).values()
    assert names(listener) == [["a.com", "b.com"], ["c.com"]]
    assert {cluster(chain) for chain in listener.filter_chains} == {f"outbound|80||{WEB.host}"}
    matches = [chain.filter_chain_match for chain in listener.filter_chains]
    assert {match.transport_protocol for match in matches} == {"tls"}


@pytest.mark.parametrize(
    ("hosts", "sni", "served"),
    [
        (("*.shop.com",), ("a.shop.com", "a.bank.com"), ["a.shop.com"]),
        (("a.shop.com",), ("*.shop.com",), ["a.shop.com"]),
        (("shop/*.shop.com",), ("a.shop.com",), ["a.shop.com"]),
    ],
)
def test_only_names_of_the_server_are_passed_on(
    hosts: tuple[str, ...], sni: tuple[str, ...], served: list[str]
) -> None:
    (listener,) = listeners(WEB, gateway(PASSING, *hosts), bound(rule(*sni))).values()
    assert names(listener) == [served]


def test_a_namespace_that_may_not_bind_gets_no_name() -> None:
    stranger = bound(rule("a.shop.com"), namespace="bank")
    assert listeners(WEB, gateway(PASSING, "shop/*.shop.com"), stranger) == {}
    assert listeners(WEB, gateway(PASSING, "*.shop.com"), stranger)


def by_name(*rows: Struct, hosts: tuple[str, ...] = ("*.local",)) -> list[str]:
    found = listeners(gateway(BY_NAME, *hosts), *rows)
    return [name for listener in found.values() for one in names(listener) for name in one]


def test_a_cluster_is_passed_on_by_its_name_for_mesh_clients_alone() -> None:
    subset = mesh.host_policy("p", WEB.host, subsets=(Subset("v1", {"v": "1"}),))
    assert by_name(WEB, subset) == [
        f"outbound_.80_._.{WEB.host}",
        f"outbound_.80_.v1_.{WEB.host}",
    ]
    (listener,) = listeners(gateway(BY_NAME, "*.local"), WEB).values()
    (chain,) = listener.filter_chains
    assert chain.filter_chain_match.application_protocols[0] == "istio"
    assert cluster(chain) == f"outbound_.80_._.{WEB.host}"
    assert not chain.HasField("transport_socket")


@pytest.mark.parametrize(
    "hidden",
    [
        mesh.service("hidden", namespace="bank", export_to=(".",)),
        mesh.service("hidden", namespace="bank", export_to=("elsewhere",)),
        mesh.service("hidden", namespace="bank", export_to=("~",)),
        mesh.service("hidden", external=True, registry="External"),
        mesh.service("hidden", host="hidden.example.com"),
        mesh.service("hidden", resolution=Resolution.DNS),
        mesh.service("hidden", mesh.port(53, Protocol.UDP)),
    ],
    ids=["private", "others", "nobody", "external", "host", "dns", "udp"],
)
def test_no_name_leads_to_what_is_not_exported_to_the_gateway(hidden: Struct) -> None:
    assert by_name(WEB, hidden) == [f"outbound_.80_._.{WEB.host}"]
    clusters = scopes.clusters(gateway(BY_NAME, "*.local"), WEB, hidden, type=ProxyType.ROUTER)
    assert [name for name in clusters if "_." in name] == [f"outbound_.80_._.{WEB.host}"]


def test_the_hosts_of_the_server_choose_namespaces_too() -> None:
    elsewhere = mesh.service("web", namespace="bank")
    assert by_name(WEB, elsewhere, hosts=("shop/*.local",)) == [f"outbound_.80_._.{WEB.host}"]
    assert len(by_name(WEB, elsewhere)) == 2


def test_clusters_by_name_have_the_endpoints_of_their_service() -> None:
    rows = (gateway(BY_NAME, "*.local"), WEB, mesh.endpoints(WEB, "10.0.0.1"))
    found = scopes.assignments(*rows, type=ProxyType.ROUTER)
    named, usual = found[f"outbound_.80_._.{WEB.host}"], found[f"outbound|80||{WEB.host}"]
    assert named.endpoints == usual.endpoints
    assert not any("_." in name for name in scopes.assignments(*rows))


def test_a_router_listens_where_it_has_addresses() -> None:
    row = mesh.gateway("g", mesh.server(80))
    (four,) = listeners(row, addresses=("10.0.0.1",)).values()
    (six,) = listeners(row, addresses=("fd00::1",)).values()
    (both,) = listeners(row, addresses=("10.0.0.1", "fd00::1")).values()
    assert four.address.socket_address.address == "0.0.0.0"  # noqa: S104
    assert six.address.socket_address.address == "::"
    assert both.additional_addresses[0].address.socket_address.address == "::"


@pytest.mark.parametrize(
    ("second", "web"), [(Protocol.GRPC_WEB, True), (Protocol.HTTP, False)], ids=str
)
def test_servers_that_share_a_port_share_what_one_of_them_needs(
    second: Protocol, web: bool
) -> None:
    first = mesh.server(80, hosts=("a.com",))
    both = mesh.gateway("g", first, mesh.server(80, second, ("b.com",)))
    (listener,) = listeners(WEB, both).values()
    (chain,) = listener.filter_chains
    manager = hcm.HttpConnectionManager.FromString(chain.filters[-1].typed_config.value)
    assert ("envoy.filters.http.grpc_web" in {one.name for one in manager.http_filters}) is web
