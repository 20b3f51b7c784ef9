from libs.api.kubernetes import EndpointSlice
from libs.translate.synthesis import slices
from tests.support.resources import mesh_of, resources, upserted

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: main}, {name: admin, port: 81}]
---
"""


def pod(name: str, port: int = 8080, *, labels: str = "app: web", more: str = "") -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{{labels}}}{more}}}
spec: {{containers: [{{ports: [{{name: main, containerPort: {port}}}]}}]}}
status: {{podIP: 10.0.0.{len(name)}, conditions: [{{type: Ready, status: "True"}}]}}
---
"""


def made(text: str) -> list[EndpointSlice]:
    return slices(resources(text))


def test_the_pods_that_a_service_selects_become_its_endpoints() -> None:
    text = SERVICE + pod("a") + pod("other", labels="app: db")
    (piece,) = made(text)
    assert [(it.name, it.port) for it in piece.ports] == [("http", 8080), ("admin", 81)]
    mesh = upserted([*resources(text), piece]).state.mesh
    (found,) = mesh.endpoints.values()
    assert [(it.address, it.port_name, it.port, it.workload) for it in found.endpoints] == [
        ("10.0.0.1", "admin", 81, "shop/a"),
        ("10.0.0.1", "http", 8080, "shop/a"),
    ]


def test_a_named_port_may_differ_from_pod_to_pod() -> None:
    pieces = made(SERVICE + pod("a", 8080) + pod("bb", 9090))
    assert [piece.ports[0].port for piece in pieces] == [8080, 9090]
    assert len({piece.ref for piece in pieces}) == 2


def test_a_pod_without_the_named_port_serves_the_others() -> None:
    (piece,) = made(SERVICE + pod("a").replace("main", "other"))
    assert [port.name for port in piece.ports] == ["admin"]


def test_whoever_writes_slices_or_has_no_selector_gets_none() -> None:
    own = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: own, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: []
"""
    assert made(SERVICE + pod("a") + own) == []
    assert made(SERVICE.replace("selector: {app: web}", "clusterIP: None") + pod("a")) == []
    alias = SERVICE.replace("selector:", "type: ExternalName\n  externalName: x\n  selector:")
    assert made(alias + pod("a")) == []


def test_pods_without_an_address_or_at_their_end_are_none() -> None:
    assert made(SERVICE + pod("a").replace("podIP: 10.0.0.1, ", "")) == []
    assert made(SERVICE + pod("a").replace("podIP:", "phase: Failed, podIP:")) == []


def test_conditions_follow_the_pod() -> None:
    unready = pod("a").replace('"True"', '"False"')
    (piece,) = made(SERVICE + unready)
    assert (piece.endpoints[0].conditions.ready, piece.endpoints[0].conditions.serving) == (
        False,
        False,
    )
    (piece,) = made(
        SERVICE.replace("selector:", "publishNotReadyAddresses: true\n  selector:") + unready
    )
    assert piece.endpoints[0].conditions.ready is True
    leaving = pod("a", more=', deletionTimestamp: "2030-01-01T00:00:00Z"')
    (piece,) = made(SERVICE + leaving)
    conditions = piece.endpoints[0].conditions
    assert (conditions.ready, conditions.serving, conditions.terminating) == (False, True, True)


def test_translation_alone_makes_no_endpoints() -> None:
    assert not mesh_of(SERVICE + pod("a")).endpoints
