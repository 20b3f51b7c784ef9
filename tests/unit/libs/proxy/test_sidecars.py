import pytest
from msgspec import Struct

from libs.model.service import Protocol
from libs.model.sidecar import EgressListener, HostPattern, ListenerPort
from libs.model.traffic import Destination, HttpRoute, StreamRoute, WeightedDestination
from libs.proxy.node import ProxyType
from libs.proxy.scope import OutboundScope
from libs.proxy.scoper import Scoper
from libs.xds.generate import cluster_set
from tests.support.mesh import mesh, port, proxy, routing, service, sidecar

A, B = service("a"), service("b", port(80), port(5432, Protocol.TCP))
FAR = service("far", port(80), port(81), namespace="far")
ROWS = (A, B, FAR)


def outbound(*rows: Struct, **client: object) -> OutboundScope:
    return Scoper().scope(mesh(*ROWS, *rows), proxy(**client)).outbound  # type: ignore[arg-type]


def seen(scope: OutboundScope) -> dict[str, list[int]]:
    return {
        one.service.host.split(".")[0]: [port.number for port in one.service.ports]
        for one in scope.services
    }


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (("*/*",), {"a", "b", "far"}),
        (("./*",), {"a", "b"}),
        (("shop/*", "far/*"), {"a", "b", "far"}),
        ((f"*/{A.host}",), {"a"}),
        ((f"far/{A.host}",), set()),
        (("*/*.far.svc.cluster.local",), {"far"}),
        (("~/*",), set()),
    ],
)
def test_what_is_imported(patterns: tuple[str, ...], expected: set[str]) -> None:
    assert set(seen(outbound(sidecar("s", *patterns)))) == expected


@pytest.mark.parametrize(
    ("excluded", "expected"),
    [
        (HostPattern("*", A.host, excluded=True), {"b", "far"}),
        (HostPattern("shop", "*", excluded=True), {"far"}),
        (HostPattern(".", A.host, excluded=True), {"b", "far"}),
        (HostPattern("far", A.host, excluded=True), {"a", "b", "far"}),
        (HostPattern("*", "*", excluded=True), set()),
    ],
)
def test_what_is_left_out(excluded: HostPattern, expected: set[str]) -> None:
    egress = (EgressListener(hosts=(HostPattern("*", "*"), excluded)),)
    assert set(seen(outbound(sidecar("s", egress=egress)))) == expected


def test_one_that_selects_the_workload_comes_first_then_the_namespaces_then_the_meshs() -> None:
    rows = (
        sidecar("mesh", "*/*", namespace="istio-system"),
        sidecar("new", f"*/{B.host}", selector={"app": "x"}, created=2),
        sidecar("old", f"*/{A.host}", selector={"app": "x"}, created=1),
        sidecar("general", "./*", created=3),
        sidecar("later", "far/*", created=4),
    )
    assert set(seen(outbound(*rows, labels={"app": "x"}))) == {"a"}
    assert set(seen(outbound(*rows, labels={"app": "y"}))) == {"a", "b"}
    assert set(seen(outbound(*rows, namespace="far"))) == {"a", "b", "far"}
    nobody = sidecar("elsewhere", "./*", selector={"app": "x"}, namespace="istio-system")
    assert set(seen(outbound(nobody, labels={"app": "x"}))) == {"a", "b", "far"}


def test_a_listener_with_a_port_leaves_nothing_but_that_port() -> None:
    http = ListenerPort(80, Protocol.HTTP)
    egress = (EgressListener(hosts=(HostPattern("*", "*"),), port=http),)
    assert seen(outbound(sidecar("s", egress=egress))) == {"a": [80], "b": [80], "far": [80]}
    proxying = (EgressListener(hosts=(HostPattern("*", "*"),), port=http, http_proxy=True),)
    assert seen(outbound(sidecar("s", egress=proxying)))["b"] == [80, 5432]


def test_services_that_an_imported_routing_leads_to_come_along_with_the_ports_it_names() -> None:
    to_far = (WeightedDestination(Destination(FAR.host, port=81)),)
    of_a = routing("r", A.host, http=(HttpRoute(destinations=to_far),))
    of_b = routing("r", B.host, tcp=(StreamRoute((), to_far),))
    only_a = sidecar("s", f"./{A.host}")
    assert seen(outbound(only_a, of_a)) == {"a": [80], "far": [81]}
    assert seen(outbound(only_a, of_b)) == {"a": [80]}
    assert [one.ref for one in outbound(only_a, of_b).routings] == []


def test_the_proxy_for_everything_else_comes_along() -> None:
    way_out = sidecar("s", f"./{A.host}", egress_proxy=Destination(FAR.host, port=81))
    assert seen(outbound(way_out)) == {"a": [80], "far": [81]}


def test_a_narrow_scope_is_few_clusters_and_a_class_of_its_own() -> None:
    many = [service(f"s{n}", namespace="far") for n in range(200)]
    narrow = sidecar("s", "./*", selector={"app": "x"})
    scoper, now = Scoper(), mesh(*ROWS, *many, narrow)
    wide = scoper.scope(now, proxy("wide"))
    small = scoper.scope(now, proxy("small", labels={"app": "x"}))
    alike = scoper.scope(now, proxy("alike", labels={"app": "x"}))
    assert len(cluster_set(wide).resources) > 200
    assert len(cluster_set(small).resources) == 3 + 2 + 1  # and three that every sidecar has
    assert small.outbound is alike.outbound
    assert small.outbound_digest != wide.outbound_digest
    assert len(small.endpoints) == 3


def test_a_router_goes_by_no_sidecar() -> None:
    scope = outbound(sidecar("s", f"./{A.host}"), type=ProxyType.ROUTER)
    assert set(seen(scope)) == {"a", "b", "far"}
