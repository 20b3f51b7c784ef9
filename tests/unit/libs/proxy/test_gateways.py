"""What a router listens on: who has a port, which names are left, and which routings are bound."""

import itertools

import pytest
from msgspec import Struct

from libs.model.gateway import Gateway, Server, ServerTls, ServerTlsMode
from libs.model.ids import Ref
from libs.model.service import Protocol, ServicePort
from libs.model.traffic import HttpMatch, HttpRoute, Routing
from libs.proxy.gateways import bound_hosts, merge
from libs.proxy.node import ProxyType
from libs.proxy.scope import OutboundScope
from libs.proxy.scoper import Scoper
from tests.support import mesh

TLS = ServerTls(mode=ServerTlsMode.SIMPLE, credentials=("web",))
PASSING = ServerTls(mode=ServerTlsMode.PASSTHROUGH)


def gateways(*servers: Server) -> list[Gateway]:
    """Return a gateway for each server, the first the oldest."""
    return [
        mesh.gateway(f"g{number}", server, created=number) for number, server in enumerate(servers)
    ]


def listeners(*servers: Server) -> list[tuple[int, str, list[str]]]:
    found = merge(gateways(*servers), {}).listeners
    return [(one.port, one.bind, [bound.gateway for bound in one.servers]) for one in found]


def test_servers_of_clear_text_share_a_port() -> None:
    grpc = mesh.server(80, Protocol.GRPC)
    assert listeners(mesh.server(80), grpc, mesh.server(81)) == [
        (80, "", ["shop/g0", "shop/g1"]),
        (81, "", ["shop/g2"]),
    ]


def test_an_address_of_its_own_is_a_listener_of_its_own() -> None:
    bound = mesh.server(80, Protocol.TCP, bind="10.0.0.1")
    assert listeners(mesh.server(80), bound) == [
        (80, "", ["shop/g0"]),
        (80, "10.0.0.1", ["shop/g1"]),
    ]


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "::"])  # noqa: S104 - nothing binds to it
def test_all_addresses_are_one_place_however_they_are_written(everywhere: str) -> None:
    bound = mesh.server(80, bind=everywhere)
    assert listeners(bound) == [(80, everywhere, ["shop/g0"])]
    assert listeners(bound, mesh.server(80)) == [(80, "", ["shop/g0", "shop/g1"])]
    other = mesh.server(80, Protocol.TCP, bind=everywhere)
    (conflict,) = merge(gateways(mesh.server(80), other), {}).conflicts
    assert (conflict.lost, conflict.kept) == ("Gateway/shop/g1", "Gateway/shop/g0")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (mesh.server(1), mesh.server(1, Protocol.TCP)),
        (mesh.server(1, Protocol.TCP), mesh.server(1)),
        (mesh.server(1, Protocol.TCP), mesh.server(1, Protocol.TCP)),
        (mesh.server(1), mesh.server(1, Protocol.HTTPS, tls=TLS)),
        (mesh.server(1, Protocol.TLS, tls=PASSING), mesh.server(1, Protocol.MONGO)),
    ],
)
def test_the_oldest_has_the_port_and_who_does_not_fit_is_told(
    first: Server, second: Server
) -> None:
    merged = merge(gateways(first, second), {})
    assert [len(one.servers) for one in merged.listeners] == [1]
    (conflict,) = merged.conflicts
    assert conflict == (Ref("Gateway/shop/g1"), 0, Ref("Gateway/shop/g0"), "")


def test_of_tls_only_the_names_go_that_an_older_server_has() -> None:
    first = mesh.server(443, Protocol.HTTPS, ("a.com", "b.com"), tls=TLS)
    second = mesh.server(443, Protocol.TLS, ("other/b.com", "c.com"), tls=PASSING)
    third = mesh.server(443, Protocol.HTTPS, ("c.com",), tls=TLS)
    merged = merge(gateways(first, second, third), {})
    (listener,) = merged.listeners
    names = [[host.name for host in bound.server.hosts] for bound in listener.servers]
    assert names == [["a.com", "b.com"], ["c.com"]]
    assert [(one.lost, one.host) for one in merged.conflicts] == [
        ("Gateway/shop/g1", "b.com"),
        ("Gateway/shop/g2", "c.com"),
    ]


def test_requests_may_share_names() -> None:
    same = mesh.server(80, hosts=("a.com",))
    assert merge(gateways(same, same), {}).conflicts == ()


def test_the_order_in_which_gateways_come_does_not_matter() -> None:
    servers = (
        mesh.server(80),
        mesh.server(80, Protocol.TCP),
        mesh.server(443, Protocol.HTTPS, tls=TLS),
    )
    made = {repr(merge(order, {})) for order in itertools.permutations(gateways(*servers))}
    assert len(made) == 1


@pytest.mark.parametrize(
    ("server", "routing", "bound"),
    [
        (("*",), ("a.com",), ("a.com",)),
        (("*.com",), ("a.com", "b.org"), ("a.com",)),
        (("a.com", "b.com"), ("*.com",), ("a.com", "b.com")),
        (("*.a.com",), ("*.com",), ("*.a.com",)),
        (("a.com",), ("b.com",), ()),
        (("shop/a.com",), ("a.com",), ("a.com",)),
        (("other/a.com",), ("a.com",), ()),
        (("*/a.com",), ("a.com",), ("a.com",)),
    ],
)
def test_of_two_patterns_the_narrower_is_served(
    server: tuple[str, ...], routing: tuple[str, ...], bound: tuple[str, ...]
) -> None:
    assert bound_hosts(mesh.server(80, hosts=server), mesh.routing("r", *routing)) == bound


def scope(*rows: Struct, **client: object) -> OutboundScope:
    client = {"type": ProxyType.ROUTER, "labels": {"istio": "edge"}, **client}
    return Scoper().scope(mesh.mesh(*rows), mesh.proxy("gw", **client)).outbound  # type: ignore[arg-type]


def ports(found: OutboundScope) -> list[int]:
    return [listener.port for listener in found.gateways]


def test_a_gateway_is_for_the_routers_that_it_selects_in_any_namespace() -> None:
    selecting = mesh.gateway("g", mesh.server(80), namespace="else", selector={"istio": "edge"})
    assert ports(scope(selecting)) == [80]
    assert ports(scope(selecting, labels={"istio": "egress"})) == []
    assert ports(scope(selecting, type=ProxyType.SIDECAR)) == []


def test_a_port_is_the_one_that_a_service_leads_to() -> None:
    row = mesh.gateway("g", mesh.server(80), mesh.server(81), selector={"istio": "edge"})
    published = mesh.service(
        "gw", ServicePort(80, "http", Protocol.HTTP, 8080), selector={"istio": "edge"}
    )
    untranslated = "experimental.istio.io/disable-gateway-port-translation"
    as_it_is = mesh.service(
        "gw",
        ServicePort(80, "http", Protocol.HTTP, 8080),
        selector={"istio": "edge"},
        labels={untranslated: ""},
    )
    elsewhere = mesh.service(
        "gw",
        ServicePort(80, "http", Protocol.HTTP, 8080),
        selector={"istio": "edge"},
        namespace="else",
    )
    assert ports(scope(row, published)) == [81, 8080]
    assert ports(scope(row, as_it_is)) == [80, 81]
    assert ports(scope(row, elsewhere)) == [80, 81]


def test_ports_that_the_pod_cannot_open_are_left_out() -> None:
    row = mesh.gateway("g", mesh.server(80), mesh.server(8080))
    assert ports(scope(row)) == [80, 8080]
    assert ports(scope(row, unprivileged=True)) == [8080]


def bound_to(*names: str, **fields: object) -> Routing:
    return mesh.routing("r", "a.com", gateways=names, **fields)


def test_a_router_follows_what_is_bound_to_its_gateways_and_visible() -> None:
    row = mesh.gateway("g", mesh.server(80))
    assert [r.ref for r in scope(row, bound_to("shop/g")).routings] == ["VirtualService/shop/r"]
    assert scope(row, bound_to("mesh")).routings == ()
    assert scope(row, bound_to("shop/other")).routings == ()
    assert scope(row, bound_to("shop/g", namespace="else", export_to=(".",))).routings == ()
    assert scope(row, bound_to("shop/g", namespace="else", export_to=("shop",))).routings
    assert scope(row, bound_to("shop/g"), type=ProxyType.SIDECAR).routings == ()


def test_what_a_router_s_namespace_keeps_comes_first_then_what_it_is_given_then_the_public() -> (
    None
):
    row = mesh.gateway("g", mesh.server(80))

    def written(name: str, created: int, **fields: object) -> Routing:
        return mesh.routing(name, "a.com", gateways=("shop/g",), created=created, **fields)

    routings = (
        written("public", 1),
        written("public-of-others", 2, namespace="else"),
        written("given", 3, namespace="else", export_to=("shop",)),
        written("kept", 4, export_to=(".",)),
        written("kept-later", 5, export_to=("shop",)),
    )
    found = [routing.name for routing in scope(row, *routings).routings]
    assert found == ["kept", "kept-later", "given", "public", "public-of-others"]


def test_matches_for_others_are_left_out() -> None:
    row = mesh.gateway("g", mesh.server(80))
    matches = (
        HttpMatch(name="here", gateways=("shop/g", "mesh"), source_labels={"never": "judged"}),
        HttpMatch(name="mesh", gateways=("mesh",)),
        HttpMatch(name="labels", source_labels={"istio": "edge"}),
        HttpMatch(name="others", source_labels={"istio": "egress"}),
        HttpMatch(name="namespace", source_namespace="else"),
    )
    bound = bound_to("shop/g", http=(HttpRoute(matches=matches),))
    (routing,) = scope(row, bound).routings
    assert [match.name for match in routing.http[0].matches] == ["here", "labels"]


def test_routers_of_equal_labels_share_a_scope_and_a_gateway_makes_another() -> None:
    row = mesh.gateway("g", mesh.server(80), selector={"istio": "edge"})
    scoper = Scoper()
    now = mesh.mesh(row)
    first, second = (
        scoper.scope(
            now, mesh.proxy(name, type=ProxyType.ROUTER, labels={"istio": "edge", "n": name})
        )
        for name in ("a", "b")
    )
    other = scoper.scope(now, mesh.proxy("c", type=ProxyType.ROUTER, labels={"istio": "else"}))
    assert first.outbound is second.outbound
    assert first.outbound_digest != other.outbound_digest
