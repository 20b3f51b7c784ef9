from msgspec import structs

from libs.model.endpoint import Endpoint, EndpointSet
from libs.model.ids import workload_key
from libs.model.mesh import Mesh
from libs.model.security import MtlsMode
from libs.model.service import Protocol, Resolution, Service, ServicePort
from libs.model.workload import WorkloadPort
from libs.proxy.inbound import InboundScoper, inbound_scope
from libs.proxy.node import Interception, Proxy, ProxyType
from libs.proxy.scope import InboundPort
from tests.support import mesh as rows

LABELS = {"app": "web"}
POD = rows.workload(
    "web-1", labels=LABELS, ports=(WorkloadPort("named", 9090),), workload_name="web"
)
PROXY = rows.proxy("web-1")


def web(*ports: ServicePort, name: str = "web", **fields: object) -> Service:
    fields.setdefault("selector", LABELS)
    return rows.service(name, *ports, **fields)


def ports(*found: object, pod: object = POD) -> dict[int, InboundPort]:
    scope = inbound_scope(rows.mesh(pod, *found), PROXY)  # type: ignore[arg-type]
    assert list(scope.ports) == sorted(scope.ports, key=lambda port: port.port)
    return {port.port: port for port in scope.ports}


def endpoint(port: int, port_name: str) -> Endpoint:
    return Endpoint(
        address="10.244.0.9", port=port, port_name=port_name, workload=workload_key("shop", "web-1")
    )


def test_ports_of_services_that_select_the_workload() -> None:
    exposed = web(
        ServicePort(80, "http", Protocol.HTTP, 8080),
        ServicePort(81, "tcp", Protocol.TCP),
        ServicePort(82, "metrics", Protocol.GRPC, "named"),
    )
    found = ports(exposed)
    assert {number: (port.protocol, port.service_port) for number, port in found.items()} == {
        81: (Protocol.TCP, 81),
        8080: (Protocol.HTTP, 80),
        9090: (Protocol.GRPC, 82),
    }


def test_a_port_that_the_workload_lacks_is_left_out() -> None:
    assert ports(web(ServicePort(80, "http", Protocol.HTTP, "nameless"))) == {}


def test_other_services_do_not_count() -> None:
    assert ports(web(selector={"app": "other"})) == {}
    assert ports(web(selector={})) == {}
    assert ports(web(namespace="bank")) == {}
    assert ports(web(resolution=Resolution.ALIAS)) == {}
    assert ports(web(ServicePort(53, "dns", Protocol.UDP))) == {}


def test_a_service_without_selector_is_served_by_its_endpoints() -> None:
    exposed = web(ServicePort(80, "http", Protocol.HTTP), selector={})
    member = EndpointSet(key=exposed.key, endpoints=(endpoint(8888, "http"),))
    assert ports(exposed, member).keys() == {8888}


def test_endpoints_know_the_port_best() -> None:
    exposed = web(ServicePort(80, "http", Protocol.HTTP, 8080))
    member = EndpointSet(key=exposed.key, endpoints=(endpoint(8888, "http"),))
    assert ports(exposed, member).keys() == {8888}


def test_of_services_that_clash_the_oldest_decides() -> None:
    older = web(ServicePort(80, "x", Protocol.TCP), name="zz", created=1)
    newer = web(ServicePort(80, "x", Protocol.HTTP), name="aa", created=2)
    assert ports(newer, older)[80].protocol is Protocol.TCP


def test_of_equally_old_services_the_lesser_host_name_decides() -> None:
    longer = web(ServicePort(80, "x", Protocol.TCP), name="srv-alt")
    shorter = web(ServicePort(80, "x", Protocol.HTTP), name="srv")
    assert ports(shorter, longer)[80].protocol is Protocol.TCP, "`srv-alt.` is before `srv.`"


def test_ports_of_the_proxy_itself_are_never_served() -> None:
    looping = [ServicePort(number, f"p{number}", Protocol.TCP) for number in (15001, 15006, 15090)]
    assert ports(web(*looping, ServicePort(80, "x", Protocol.TCP))).keys() == {80}


def test_modes_of_ports_and_ports_that_only_a_policy_names() -> None:
    policy = rows.peer_policy(
        "p",
        selector=LABELS,
        mode=MtlsMode.STRICT,
        ports={8080: MtlsMode.DISABLE, 7000: MtlsMode.PERMISSIVE},
    )
    found = ports(web(ServicePort(80, "http", Protocol.HTTP, 8080)), policy)
    assert found[8080].mode is MtlsMode.DISABLE
    assert found[7000].mode is MtlsMode.PERMISSIVE
    assert (found[7000].service, found[7000].protocol) == (None, Protocol.AUTO)


def test_policies_that_select_the_workload() -> None:
    found = inbound_scope(
        rows.mesh(
            POD,
            rows.access_policy("b"),
            rows.access_policy("a", selector=LABELS),
            rows.access_policy("other", selector={"app": "other"}),
            rows.access_policy("elsewhere", "bank"),
            rows.access_policy("z", "istio-system"),
            rows.access_policy("narrow", "istio-system", selector=LABELS),
        ),
        PROXY,
    )
    assert [policy.ref for policy in found.policies] == [
        "AuthorizationPolicy/istio-system/narrow",
        "AuthorizationPolicy/istio-system/z",
        "AuthorizationPolicy/shop/a",
        "AuthorizationPolicy/shop/b",
    ]


def test_policies_in_the_root_namespace_count_once_for_its_own_workloads() -> None:
    pod = rows.workload("web-1", "istio-system", labels=LABELS)
    policy = rows.access_policy("z", "istio-system")
    scope = inbound_scope(rows.mesh(pod, policy), rows.proxy("web-1", "istio-system"))
    assert scope.policies == (policy,)


def test_labels_come_from_the_workload_once_it_is_known() -> None:
    liar = structs.replace(PROXY, labels={"app": "other"})
    policy = rows.access_policy("p", selector=LABELS)
    assert inbound_scope(rows.mesh(POD, policy), liar).policies == (policy,)
    assert inbound_scope(rows.mesh(policy), liar).policies == ()


def test_a_workload_that_was_not_seen_yet_serves_by_its_own_labels() -> None:
    early = structs.replace(PROXY, labels=LABELS)
    scope = inbound_scope(rows.mesh(web(ServicePort(80, "http", Protocol.HTTP, 8080))), early)
    assert [port.port for port in scope.ports] == [8080]
    assert scope.workload_name == "web-1"


def test_replicas_are_one_class_and_explicit_addresses_tell_them_apart() -> None:
    other_pod = rows.workload("web-2", labels=LABELS, workload_name="web", ports=POD.ports)
    mesh = rows.mesh(POD, other_pod, web())
    other = structs.replace(rows.proxy("web-2"), addresses=("10.244.0.10",))
    assert inbound_scope(mesh, PROXY) == inbound_scope(mesh, other)
    explicit = [structs.replace(one, interception=Interception.NONE) for one in (PROXY, other)]
    assert inbound_scope(mesh, explicit[0]).addresses == ("10.244.0.9",)
    assert inbound_scope(mesh, explicit[0]) != inbound_scope(mesh, explicit[1])


def test_a_gateway_serves_nothing_itself_but_has_policies() -> None:
    gateway = structs.replace(PROXY, type=ProxyType.ROUTER)
    scope = inbound_scope(rows.mesh(POD, web(), rows.access_policy("p")), gateway)
    assert scope.ports == ()
    assert len(scope.policies) == 1


def after(scoper: InboundScoper, before: Mesh, *changed: object, proxy: Proxy = PROXY) -> bool:
    """Tell whether the scope is still the same object after a change."""
    first = scoper.scope(before, proxy)
    return scoper.scope(rows.mesh(*changed, before=before), proxy) is first  # type: ignore[arg-type]


def test_a_scope_stays_the_same_object_while_nothing_of_it_changes() -> None:
    exposed = web(ServicePort(80, "http", Protocol.HTTP))
    other = rows.service("other", selector={"app": "other"})
    member = EndpointSet(key=exposed.key, endpoints=(endpoint(80, "http"),))
    mesh = rows.mesh(POD, exposed, other, member)
    scoper = InboundScoper()
    assert after(scoper, mesh, rows.endpoints(other, "10.244.0.77"))
    assert after(scoper, mesh, structs.replace(member, refs=("EndpointSlice/shop/x",)))
    assert after(scoper, mesh, rows.service("far", namespace="bank"))
    assert after(scoper, mesh, rows.access_policy("p", "bank"))
    assert after(scoper, mesh, rows.peer_policy("p", "bank", mode=MtlsMode.STRICT))
    assert not after(scoper, mesh, rows.access_policy("p"))
    assert not after(scoper, mesh, rows.peer_policy("p", mode=MtlsMode.STRICT))
    moved = EndpointSet(key=exposed.key, endpoints=(endpoint(81, "http"),))
    assert not after(scoper, mesh, moved)
    assert not after(scoper, mesh, structs.replace(exposed, ports=(rows.port(90),)))


def test_many_changes_one_by_one_equal_all_at_once() -> None:
    exposed = web(ServicePort(80, "http", Protocol.HTTP), selector={})
    scoper, mesh = InboundScoper(), rows.mesh(POD)
    steps: list[object] = [
        exposed,
        EndpointSet(key=exposed.key, endpoints=(endpoint(80, "http"),)),
        EndpointSet(key=exposed.key, endpoints=(endpoint(81, "http"),)),
        EndpointSet(key=exposed.key),
        EndpointSet(key=exposed.key, endpoints=(endpoint(82, "http"),)),
        rows.access_policy("p"),
    ]
    for step in steps:
        mesh = rows.mesh(step, before=mesh)  # type: ignore[arg-type]
        assert scoper.scope(mesh, PROXY) == inbound_scope(mesh, PROXY)


def test_a_proxy_that_has_gone_is_forgotten() -> None:
    scoper, mesh = InboundScoper(), rows.mesh(POD)
    first = scoper.scope(mesh, PROXY)
    scoper.forget(PROXY)
    assert scoper.scope(mesh, PROXY) is not first
