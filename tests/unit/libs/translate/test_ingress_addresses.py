"""Where Ingresses are entered: at a Service, or at the nodes of ingress pods."""

import pytest

from libs.model.settings import MeshSettings
from libs.translate.apply import initial
from libs.translate.ingress_addresses import addresses, ours
from tests.support.resources import translated

CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data: {{mesh: '{}'}}
---
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {}, namespace: {}}}
spec: {}
status: {{loadBalancer: {{ingress: {}}}}}
---
"""
BALANCER = "{type: LoadBalancer, ports: [{port: 80}], externalIPs: [192.0.2.9]}"
ENTRIES = "[{hostname: lb.example.com}, {ip: 192.0.2.1}, {ip: 192.0.2.9}]"
NODES = """
apiVersion: v1
kind: Node
metadata: {name: n1}
status:
  addresses:
  - {type: ExternalIP, address: 198.51.100.1}
  - {type: ExternalIP, address: "2001:db8::1"}
  - {type: InternalIP, address: 10.0.0.1}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
status: {addresses: [{type: ExternalIP, address: 198.51.100.2}]}
---
"""


def pod(name: str, *, phase: str = "Running", gateway: str = "edge", where: str = "") -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {where or "istio-system"}, labels: {{istio: {gateway}}}}}
spec: {{nodeName: {"n1" if name == "a" else "n2"}}}
status: {{phase: {phase}, podIP: 10.1.0.1}}
---
"""


def entries(text: str) -> list[str]:
    return [it.ip or it.hostname for it in addresses(translated(text).state)]


def service(
    name: str = "istio-ingressgateway",
    namespace: str = "istio-system",
    *,
    spec: str = BALANCER,
    status: str = ENTRIES,
) -> str:
    return SERVICE.format(name, namespace, spec, status)


def test_addresses_come_first_and_once() -> None:
    assert entries(service()) == ["192.0.2.1", "192.0.2.9", "lb.example.com"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (service(namespace="shop"), []),
        (service("edge"), []),
        (CONFIG.format("ingressService: edge") + service("edge", status="[{ip: 192.0.2.7}]"),
         ["192.0.2.7", "192.0.2.9"]),
        (service(spec="{type: ExternalName, externalName: lb.example.com}", status="[]"),
         ["lb.example.com"]),
        (service(spec="{type: ClusterIP, ports: [{port: 80}]}", status="[]"), []),
    ],
)  # fmt: skip
def test_which_service_counts(text: str, expected: list[str]) -> None:
    assert entries(text) == expected


def test_without_a_service_nodes_count_on_which_ingress_pods_run() -> None:
    config = CONFIG.format('{ingressService: "", ingressSelector: edge}')
    assert entries(config + NODES + pod("a")) == ["198.51.100.1", "2001:db8::1"]
    more = config + NODES + pod("a") + pod("b")
    assert entries(more) == ["198.51.100.1", "198.51.100.2", "2001:db8::1"]
    for other in (
        pod("a", phase="Pending"),
        pod("a", gateway="web"),
        pod("a", where="shop"),
    ):
        assert entries(config + NODES + other) == []


@pytest.mark.parametrize(
    "config", ["", CONFIG.format('{ingressService: "", ingressSelector: edge}')]
)
def test_another_namespace_may_be_that_of_ingress_pods(config: str) -> None:
    state = initial(MeshSettings(ingress_namespace="edges"))
    at_home = service() + NODES + pod("a")
    assert addresses(translated(config + at_home, state).state) == ()
    there = service(namespace="edges") + NODES + pod("a", where="edges")
    assert addresses(translated(config + there, state).state)


def test_only_ingresses_of_the_mesh_are_ours() -> None:
    text = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {0}, namespace: shop, annotations: {{kubernetes.io/ingress.class: {1}}}}}
spec: {{rules: []}}
---
"""
    gateway = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec: {selector: {a: b}, servers: [{port: {number: 80, name: h, protocol: HTTP}, hosts: ["*"]}]}
---
"""
    step = translated(text.format("a", "istio") + text.format("b", "nginx") + gateway)
    assert ours(step.state.mesh) == {"Ingress/shop/a"}
