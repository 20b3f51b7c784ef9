from collections.abc import Mapping

import pytest
from msgspec import Struct, structs

from libs.model.endpoint import Endpoint, EndpointSet, Health, Locality
from libs.model.ids import WorkloadKey
from libs.model.security import MtlsMode
from libs.model.service import Protocol, Resolution
from libs.model.traffic import (
    ClientTls,
    LoadBalancing,
    LocalityBalancing,
    OutlierDetection,
    Simple,
    Subset,
    TlsMode,
    TrafficPolicy,
)
from libs.proxy import sessions
from libs.proxy.node import Interception, ProxyType
from libs.proxy.scope import EndpointScope
from libs.proxy.scoper import Scoper
from tests.support.mesh import (
    endpoints,
    host_policy,
    mesh,
    peer_policy,
    port,
    proxy,
    service,
    workload,
)

WEB = service("web")
CLUSTER = f"outbound|80||{WEB.host}"


def scopes(*rows: Struct, **client: object) -> Mapping[str, EndpointScope]:
    return Scoper().scope(mesh(*rows), proxy(**client)).endpoints  # type: ignore[arg-type]


def addresses(*rows: Struct, cluster: str = CLUSTER, **client: object) -> list[str]:
    return [endpoint.address for endpoint in scopes(*rows, **client)[cluster].endpoints]


def with_health(health: Health) -> EndpointSet:
    return endpoints(WEB, "10.0.0.1", health=health)


def policy(**fields: object) -> Struct:
    return host_policy("p", WEB.host, policy=TrafficPolicy(**fields))  # type: ignore[arg-type]


def test_each_port_and_subset_has_its_own_endpoints() -> None:
    web = service("web", port(80), port(90, Protocol.TCP), port(53, Protocol.UDP))
    rows = endpoints(web, "10.0.0.1", labels={"v": "1"})
    more = endpoints(web, "10.0.0.2", labels={"v": "2"})
    both = EndpointSet(key=web.key, endpoints=(*rows.endpoints, *more.endpoints))
    subsets = host_policy("p", web.host, subsets=(Subset("one", {"v": "1"}),))
    found = scopes(web, both, subsets)
    assert {name: [e.address for e in scope.endpoints] for name, scope in found.items()} == {
        f"outbound|80||{web.host}": ["10.0.0.1", "10.0.0.2"],
        f"outbound|80|one|{web.host}": ["10.0.0.1"],
        f"outbound|90||{web.host}": ["10.0.0.1", "10.0.0.2"],
        f"outbound|90|one|{web.host}": ["10.0.0.1"],
    }


def test_a_service_without_endpoints_has_an_empty_scope() -> None:
    assert addresses(WEB) == []


def test_unhealthy_endpoints_are_sent_unless_few_healthy_ones_would_do() -> None:
    rows = with_health(Health.UNHEALTHY)
    assert addresses(WEB, rows) == ["10.0.0.1"]
    assert addresses(WEB, rows, policy(outlier_detection=OutlierDetection())) == ["10.0.0.1"]
    panicking = OutlierDetection(min_health_percent=30)
    assert addresses(WEB, rows, policy(outlier_detection=panicking)) == []


@pytest.mark.parametrize(
    ("label", "value", "found"),
    [
        ("istio.io/persistent-session", "c", ["10.0.0.1"]),
        ("istio.io/persistent-session-header", "h", ["10.0.0.1"]),
        ("istio.io/persistent-session", "", []),
        ("app", "web", []),
    ],
)
def test_draining_endpoints_are_for_persistent_sessions_only(
    label: str, value: str, found: list[str]
) -> None:
    sticky = structs.replace(WEB, labels={label: value})
    assert addresses(sticky, with_health(Health.DRAINING)) == found
    assert addresses(sticky, endpoints(WEB, "10.0.0.1", labels={sessions.DRAINING: "yes"})) == found


def test_names_are_not_addresses() -> None:
    assert addresses(WEB, endpoints(WEB, "db.example.com", "unix:///run/db")) == ["unix:///run/db"]


def test_node_local_services_have_the_endpoints_of_the_clients_node() -> None:
    local = structs.replace(WEB, node_local=True)
    here, there = endpoints(local, "10.0.0.1", node="a"), endpoints(local, "10.0.0.2", node="b")
    rows = EndpointSet(key=local.key, endpoints=(*here.endpoints, *there.endpoints))
    assert addresses(local, rows, workload("client", node="a")) == ["10.0.0.1"]
    assert addresses(local, rows) == [], "nobody knows where the client is"


@pytest.mark.parametrize(
    ("resolution", "client", "expected"),
    [
        (Resolution.ORIGINAL, {}, False),
        (Resolution.ORIGINAL, {"type": ProxyType.ROUTER}, True),
        (Resolution.ORIGINAL, {"interception": Interception.NONE}, True),
        (Resolution.DNS, {}, False),
        (Resolution.ENDPOINTS, {}, True),
    ],
)
def test_who_is_sent_endpoints(
    resolution: Resolution, client: dict[str, object], expected: bool
) -> None:
    web = service("web", resolution=resolution)
    assert (CLUSTER in scopes(web, endpoints(web, "10.0.0.1"), **client)) is expected


def test_a_passed_through_service_has_no_endpoints() -> None:
    passed = policy(load_balancing=LoadBalancing(simple=Simple.PASSTHROUGH))
    assert CLUSTER not in scopes(WEB, endpoints(WEB, "10.0.0.1"), passed)


def test_a_policy_for_the_port_forbids_mesh_tls_there() -> None:
    rows = endpoints(WEB, "10.0.0.1", labels={"app": "web"})
    off = peer_policy("off", selector={"app": "web"}, ports={80: MtlsMode.DISABLE})
    assert scopes(WEB, rows, off)[CLUSTER].mtls_disabled_ports == (("10.0.0.1", 80),)
    other = peer_policy("off", selector={"app": "web"}, ports={81: MtlsMode.DISABLE})
    assert scopes(WEB, rows, other)[CLUSTER].mtls_disabled_ports == ()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(TlsMode.ISTIO_MUTUAL, True), (TlsMode.DISABLE, False), (TlsMode.SIMPLE, False)],
)
def test_the_clients_own_tls_mode_decides_first(mode: TlsMode, expected: bool) -> None:
    rows = endpoints(WEB, "10.0.0.1")
    assert scopes(WEB, rows, policy(tls=ClientTls(mode=mode)))[CLUSTER].mesh_tls is expected


HERE = Locality("eu", "eu-1")


def test_where_the_client_is_enters_only_if_the_balancing_asks_for_it() -> None:
    rows = endpoints(WEB, "10.0.0.1")
    assert scopes(WEB, rows, locality=HERE)[CLUSTER].locality == Locality()
    outlier = policy(outlier_detection=OutlierDetection(consecutive_5xx=1))
    found = scopes(WEB, rows, outlier, locality=HERE)[CLUSTER]
    assert (found.locality, found.failover) == (HERE, True)
    off = LoadBalancing(locality=LocalityBalancing(enabled=False))
    disabled = policy(outlier_detection=OutlierDetection(), load_balancing=off)
    assert scopes(WEB, rows, disabled, locality=HERE)[CLUSTER].balancing is None


def test_only_the_labels_that_a_failover_priority_names_enter() -> None:
    wanted = LocalityBalancing(failover_priority=("version", "zone=eu-2"))
    asked = policy(
        outlier_detection=OutlierDetection(), load_balancing=LoadBalancing(locality=wanted)
    )
    labels = {"version": "v1", "app": "client"}
    found = scopes(WEB, endpoints(WEB, "10.0.0.1"), asked, labels=labels)[CLUSTER]
    assert found.labels == {"version": "v1", "zone": "eu-2"}


def test_only_the_scopes_of_moved_endpoints_are_made_anew() -> None:
    still = service("still")
    scoper = Scoper()
    first = mesh(WEB, still, endpoints(WEB, "10.0.0.1"), endpoints(still, "10.0.0.2"))
    before = scoper.scope(first, proxy()).endpoints
    second = mesh(endpoints(WEB, "10.0.0.3"), before=first)
    after = scoper.scope(second, proxy()).endpoints
    kept = f"outbound|80||{still.host}"
    assert after[kept] is before[kept]
    assert [endpoint.address for endpoint in after[CLUSTER].endpoints] == ["10.0.0.3"]


def test_a_client_that_was_not_asked_for_a_while_gets_the_latest_endpoints() -> None:
    scoper = Scoper()
    now = mesh(WEB, endpoints(WEB, "10.0.0.1"))
    scoper.scope(now, proxy())
    for number in range(2, 6):
        now = mesh(endpoints(WEB, f"10.0.0.{number}"), before=now)
        scoper.scope(now, proxy("busy", namespace="elsewhere"))
    found = scoper.scope(now, proxy()).endpoints[CLUSTER]
    assert [endpoint.address for endpoint in found.endpoints] == ["10.0.0.5"]


def test_endpoints_that_are_gone_are_gone() -> None:
    scoper = Scoper()
    first = mesh(WEB, endpoints(WEB, "10.0.0.1"))
    scoper.scope(first, proxy())
    empty: tuple[Endpoint, ...] = ()
    second = mesh(EndpointSet(key=WEB.key, endpoints=empty), before=first)
    assert scoper.scope(second, proxy()).endpoints[CLUSTER].endpoints == ()


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (("10.1.0.1",), [("10.0.0.1", ()), ("10.0.0.2", ()), ("unix:///s", ())]),
        (("fd00::9",), [("fd00::1", ()), ("fd00::3", ()), ("unix:///s", ())]),
        (
            ("10.1.0.1", "fd00::9"),
            [
                ("10.0.0.1", ("fd00::1",)),
                ("10.0.0.2", ()),
                ("fd00::3", ()),
                ("unix:///s", ()),
            ],
        ),
    ],
)
def test_a_client_sees_the_endpoints_of_its_own_families(
    addresses: tuple[str, ...], expected: list[tuple[str, tuple[str, ...]]]
) -> None:
    pods = {"10.0.0.1": "a", "10.0.0.2": "", "fd00::1": "a", "fd00::3": "", "unix:///s": ""}
    found = tuple(
        Endpoint(address=address, port=80, port_name="http-80", workload=WorkloadKey(pod))
        for address, pod in pods.items()
    )
    made = scopes(WEB, EndpointSet(key=WEB.key, endpoints=found), addresses=addresses)
    assert [(one.address, one.others) for one in made[CLUSTER].endpoints] == expected
