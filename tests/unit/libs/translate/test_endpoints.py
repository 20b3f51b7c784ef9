import textwrap

import pytest

from libs.model.endpoint import Endpoint, EndpointSet, Health, Locality
from libs.model.mesh import Mesh
from libs.translate.apply import Remove, Upsert, apply
from tests.support.resources import mesh_of, resources, translated

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80, targetPort: 9080}]}
---
"""
HEADER = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: reviews-1
  namespace: shop
  labels: {kubernetes.io/service-name: reviews}
addressType: IPv4
ports: [{name: http, port: 9080}]
endpoints:
"""
IMPORTED = "{multicluster.kubernetes.io/service-name: r, kubernetes.io/service-name: reviews}"
KEY = "shop/reviews.shop.svc.cluster.local"


def pod(name: str, address: str, *, ready: bool = True, extra: str = "") -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{app: reviews{extra}}}}}
spec: {{serviceAccountName: reviews, nodeName: node-1}}
status: {{podIP: {address}, conditions: [{{type: Ready, status: "{ready}"}}]}}
---
"""


def endpoint(address: str, conditions: str = "{ready: true}", target: str = "") -> str:
    reference = f", targetRef: {{kind: Pod, name: {target}, namespace: shop}}" if target else ""
    return f"  - {{addresses: [{address}], conditions: {conditions}{reference}}}\n"


def found(mesh: Mesh) -> tuple[Endpoint, ...]:
    return mesh.endpoints.get(KEY, EndpointSet(key=KEY)).endpoints


def test_an_endpoint_takes_after_its_pod() -> None:
    node = """
apiVersion: v1
kind: Node
metadata: {name: node-1, labels: {topology.kubernetes.io/region: r, topology.kubernetes.io/zone: z}}
---
"""
    sidecar = ", security.istio.io/tlsMode: istio"
    mesh = mesh_of(
        SERVICE
        + node
        + pod("a", "10.1.0.1", extra=sidecar)
        + HEADER
        + endpoint("10.1.0.1", target="a")
    )
    (only,) = found(mesh)
    assert only == Endpoint(
        address="10.1.0.1",
        port=9080,
        port_name="http",
        workload=only.workload,
        workload_name="a",
        labels={"app": "reviews", "security.istio.io/tlsMode": "istio"},
        service_account="reviews",
        namespace="shop",
        mtls=True,
        locality=Locality("r", "z"),
        node="node-1",
    )
    assert only.workload == "shop/a"
    assert mesh.endpoints[KEY].refs == ("EndpointSlice/shop/reviews-1",)


@pytest.mark.parametrize(
    ("conditions", "health"),
    [
        ("{}", Health.HEALTHY),
        ("{ready: true}", Health.HEALTHY),
        ("{ready: false}", Health.UNHEALTHY),
        ("{ready: false, serving: false, terminating: true}", None),
        ("{ready: false, serving: true, terminating: true}", None),
    ],
)
def test_health(conditions: str, health: Health | None) -> None:
    mesh = mesh_of(
        SERVICE + pod("a", "10.1.0.1") + HEADER + endpoint("10.1.0.1", conditions, target="a")
    )
    assert [it.health for it in found(mesh)] == ([health] if health else [])


def test_with_persistent_sessions_a_terminating_endpoint_drains() -> None:
    service = SERVICE.replace("shop}", "shop, labels: {istio.io/persistent-session: c}}", 1)
    leaving = "{ready: false, serving: true, terminating: true}"
    mesh = mesh_of(
        service + pod("a", "10.1.0.1") + HEADER + endpoint("10.1.0.1", leaving, target="a")
    )
    assert [it.health for it in found(mesh)] == [Health.DRAINING]


def test_an_endpoint_waits_for_its_pod_to_be_there_and_ready() -> None:
    without_pod = translated(SERVICE + HEADER + endpoint("10.1.0.1", target="a"))
    assert found(without_pod.state.mesh) == ()

    not_ready = translated(pod("a", "10.1.0.1", ready=False), without_pod.state)
    assert found(not_ready.state.mesh) == ()

    ready = translated(pod("a", "10.1.0.1"), not_ready.state)
    assert [it.address for it in found(ready.state.mesh)] == ["10.1.0.1"]
    assert ready.delta.causes == ("Pod/shop/a",)

    gone = apply(ready.state, [Remove(resources(pod("a", "10.1.0.1"))[0].ref)])
    assert found(gone.state.mesh) == ()


def test_who_asks_for_addresses_that_are_not_ready_gets_them() -> None:
    service = SERVICE.replace("clusterIP", "publishNotReadyAddresses: true, clusterIP")
    mesh = mesh_of(
        service
        + pod("a", "10.1.0.1", ready=False)
        + HEADER
        + endpoint("10.1.0.1", "{ready: true}", target="a")
    )
    assert [it.health for it in found(mesh)] == [Health.HEALTHY]


def test_an_endpoint_without_a_pod_is_taken_as_it_is_written() -> None:
    mesh = mesh_of(SERVICE + HEADER + endpoint("192.0.2.7"))
    (only,) = found(mesh)
    assert (only.address, only.workload, only.mtls, only.labels) == ("192.0.2.7", "", False, {})


def test_an_address_finds_its_pod_without_a_reference() -> None:
    mesh = mesh_of(SERVICE + pod("a", "10.1.0.1") + HEADER + endpoint("10.1.0.1"))
    assert [it.workload for it in found(mesh)] == ["shop/a"]


def test_slices_are_merged_without_duplicates_the_healthy_one_wins() -> None:
    second = HEADER.replace("reviews-1", "reviews-2")
    mesh = mesh_of(
        SERVICE
        + HEADER
        + endpoint("10.1.0.2")
        + endpoint("10.1.0.1", "{ready: false}")
        + "---"
        + second
        + endpoint("10.1.0.1")
        + endpoint("10.1.0.3")
    )
    assert [(it.address, it.health) for it in found(mesh)] == [
        ("10.1.0.1", Health.HEALTHY),
        ("10.1.0.2", Health.HEALTHY),
        ("10.1.0.3", Health.HEALTHY),
    ]
    assert len(mesh.endpoints[KEY].refs) == 2


@pytest.mark.parametrize(
    "written",
    [
        "metadata: {name: x, namespace: other, labels: {kubernetes.io/service-name: reviews}}",
        "metadata: {name: x, namespace: shop, labels: {kubernetes.io/service-name: ratings}}",
        "metadata: {name: x, namespace: shop}",
        f"metadata: {{name: x, namespace: shop, labels: {IMPORTED}}}",
    ],
)
def test_slices_of_others_are_not_taken(written: str) -> None:
    body = textwrap.dedent("""
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        addressType: IPv4
        ports: [{name: http, port: 9080}]
        endpoints: [{addresses: [10.1.0.1]}]
    """)
    assert found(mesh_of(SERVICE + body + written)) == ()


# proves: EndpointSlice addressType
@pytest.mark.parametrize(
    ("kind", "ports"),
    [
        ("FQDN", "[{name: http, port: 9080}]"),
        ("IPv4", "[{name: metrics, port: 9080}]"),
        ("IPv4", "[{name: http, port: 9080, protocol: UDP}]"),
        ("IPv4", "[{name: http}]"),
        ("IPv4", "[]"),
    ],
)
def test_what_is_no_port_of_the_service_is_left_out(kind: str, ports: str) -> None:
    header = HEADER.replace("IPv4", kind).replace("[{name: http, port: 9080}]", ports)
    assert found(mesh_of(SERVICE + header + endpoint("10.1.0.1"))) == ()


def test_an_unnamed_port_is_served_by_an_unnamed_port() -> None:
    header = HEADER.replace("name: http, port: 9080", "port: 9080")
    mesh = mesh_of(SERVICE.replace("name: http, ", "") + header + endpoint("10.1.0.1"))
    assert [(it.port_name, it.port) for it in found(mesh)] == [("", 9080)]


def test_a_change_of_endpoints_moves_nothing_else() -> None:
    before = translated(SERVICE + HEADER + endpoint("10.1.0.1")).state
    step = translated(HEADER + endpoint("10.1.0.2"), before)
    assert {key.table.value for key in step.delta.keys} == {"endpoints"}
    assert step.state.mesh.services is before.mesh.services


def test_the_same_again_is_no_change() -> None:
    text = SERVICE + pod("a", "10.1.0.1") + HEADER + endpoint("10.1.0.1", target="a")
    before = translated(text).state
    step = apply(before, [Upsert(resource, 9.0) for resource in resources(text)])
    assert not step.delta
    assert step.state.mesh is before.mesh
