import pytest

from libs.model.endpoint import Locality
from libs.model.workload import Workload, WorkloadPort
from tests.support.resources import mesh_of

NODE = """
apiVersion: v1
kind: Node
metadata:
  name: node-1
  labels:
    topology.kubernetes.io/region: r1
    topology.kubernetes.io/zone: z1
    topology.istio.io/subzone: s1
---
"""


def workload(text: str) -> Workload:
    (found,) = mesh_of(text).workloads.values()
    return found


def test_a_pod_with_a_sidecar() -> None:
    found = workload(
        NODE
        + """
apiVersion: v1
kind: Pod
metadata:
  name: reviews-v1-5d4f8b7c9-x2x7z
  namespace: shop
  labels: {app: reviews, pod-template-hash: 5d4f8b7c9, security.istio.io/tlsMode: istio}
  ownerReferences:
    - {apiVersion: apps/v1, kind: ReplicaSet, name: reviews-v1-5d4f8b7c9, controller: true, uid: u}
spec:
  serviceAccountName: reviews
  nodeName: node-1
  containers:
    - name: app
      ports: [{name: web, containerPort: 9080}, {name: dns, containerPort: 53, protocol: UDP}]
status:
  podIP: 10.1.0.1
  podIPs: [{ip: 10.1.0.1}, {ip: "fd00::1"}]
  conditions: [{type: Ready, status: "True"}]
"""
    )
    assert found.key == "shop/reviews-v1-5d4f8b7c9-x2x7z"
    assert found.ref == "Pod/shop/reviews-v1-5d4f8b7c9-x2x7z"
    assert found.workload_name == "reviews-v1"
    assert found.service_account == "reviews"
    assert found.addresses == ("10.1.0.1", "fd00::1")
    assert found.ports == (WorkloadPort("web", 9080),)
    assert found.ready
    assert found.mtls
    assert not found.router
    assert found.locality == Locality("r1", "z1", "s1")


def test_a_bare_pod_is_itself_and_not_ready() -> None:
    found = workload("{apiVersion: v1, kind: Pod, metadata: {name: alone}}")
    assert found.workload_name == "alone"
    assert found.service_account == "default"
    assert not found.ready
    assert not found.mtls
    assert found.locality == Locality()


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_is_gone(phase: str) -> None:
    mesh = mesh_of(
        f"{{apiVersion: v1, kind: Pod, metadata: {{name: job}}, status: {{phase: {phase}}}}}"
    )
    assert not mesh.workloads


@pytest.mark.parametrize(
    ("owner", "labels", "name"),
    [
        ("{kind: StatefulSet, name: db, controller: true}", "{}", "db"),
        ("{kind: DaemonSet, name: agent, controller: true}", "{}", "agent"),
        ("{kind: Job, name: report-28345670, controller: true}", "{}", "report"),
        ("{kind: Job, name: report-once, controller: true}", "{}", "report-once"),
        ("{kind: ReplicaSet, name: web-abc, controller: true}", "{}", "web-abc"),
        ("{kind: ReplicaSet, name: web-abc, controller: true}", "{pod-template-hash: abc}", "web"),
        (
            "{kind: ReplicaSet, name: web-abc, controller: true}",
            "{rollouts-pod-template-hash: abc}",
            "web",
        ),
        ("{kind: Node, name: node-1}", "{pod-template-hash: abc}", "pod"),
    ],
)
def test_the_name_of_what_made_a_pod(owner: str, labels: str, name: str) -> None:
    found = workload(f"""
apiVersion: v1
kind: Pod
metadata:
  name: pod-abc-x1
  labels: {labels}
  ownerReferences: [{owner}]
""")
    assert found.workload_name == name


@pytest.mark.parametrize(
    ("label", "locality"),
    [
        ("r2.z2", Locality("r2", "z2")),
        ("r2.z2.s2", Locality("r2", "z2", "s2")),
        ("r2", Locality("r2")),
    ],
)
def test_a_label_decides_the_locality_before_the_node(label: str, locality: Locality) -> None:
    text = f"""
apiVersion: v1
kind: Pod
metadata: {{name: pod, labels: {{istio-locality: {label}}}}}
spec: {{nodeName: node-1}}
"""
    assert workload(NODE + text).locality == locality


@pytest.mark.parametrize(
    ("written", "router"),
    [("gateway", True), ("sidecar, gateway", True), ("sidecar", False), ("my-gateway", False)],
)
def test_a_pod_made_from_the_gateway_template_is_a_router(written: str, router: bool) -> None:
    found = workload(f"""
apiVersion: v1
kind: Pod
metadata: {{name: pod, annotations: {{inject.istio.io/templates: "{written}"}}}}
""")
    assert found.router is router


def test_the_network_is_the_pods_or_the_clusters() -> None:
    mesh = mesh_of("""
apiVersion: v1
kind: Namespace
metadata: {name: istio-system, labels: {topology.istio.io/network: n1}}
---
apiVersion: v1
kind: Pod
metadata: {name: a}
---
apiVersion: v1
kind: Pod
metadata: {name: b, labels: {topology.istio.io/network: n2}}
""")
    assert {row.name: row.network for row in mesh.workloads.values()} == {"a": "n1", "b": "n2"}
