"""Which Services are gateways of networks, and where they are reached."""

import pytest

from libs.api.resolved_name import ResolvedName
from libs.api.resource import Metadata
from libs.translate.apply import Remove, apply
from tests.support.resources import mesh_of, resources, translated, upserted

LABEL = "topology.istio.io/network: south"
BALANCER = "status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}"
NODES_OF = "traffic.istio.io/nodeSelector"


def gateway(
    spec: str = "type: LoadBalancer, ", status: str = BALANCER, labels: str = LABEL, notes: str = ""
) -> str:
    return f"""
apiVersion: v1
kind: Service
metadata:
  name: gw
  namespace: istio-system
  labels: {{{labels}}}
  annotations: {{{notes}}}
spec: {{clusterIP: 10.96.0.1, {spec}ports: [{{name: tls, port: 15443, nodePort: 31443}}]}}
{status}
---
"""


def node(name: str, address: str, labels: str = "") -> str:
    return f"""
apiVersion: v1
kind: Node
metadata: {{name: {name}, labels: {{{labels}}}}}
status: {{addresses: [{{type: InternalIP, address: 10.0.0.1}}, {address}]}}
---
"""


def places(text: str) -> list[tuple[str, str, int]]:
    return [
        (it.network, it.address, it.port)
        for row in mesh_of(text).networks.values()
        for it in row.gateways
        if row.ref.startswith("Service/")
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (gateway(labels=""), []),
        (gateway(), [("south", "192.0.2.1", 15443)]),
        (
            gateway(labels=f'{LABEL}, networking.istio.io/gatewayPort: "443"'),
            [("south", "192.0.2.1", 443)],
        ),
        (
            gateway(status="status: {loadBalancer: {ingress: [{ip: 192.0.2.2}, {ip: 192.0.2.1}]}}"),
            [("south", "192.0.2.1", 15443), ("south", "192.0.2.2", 15443)],
        ),
        (
            gateway(status="status: {loadBalancer: {ingress: [{hostname: a.b}]}}"),
            [("south", "a.b", 15443)],
        ),
        # The address goes before the name, of one place as of several.
        (
            gateway(status="status: {loadBalancer: {ingress: [{ip: 192.0.2.1, hostname: a.b}]}}"),
            [("south", "192.0.2.1", 15443)],
        ),
        (gateway("externalIPs: [192.0.2.9], ", ""), [("south", "192.0.2.9", 15443)]),
        (
            gateway("type: LoadBalancer, externalIPs: [192.0.2.9], "),
            [("south", "192.0.2.1", 15443), ("south", "192.0.2.9", 15443)],
        ),
        # A status of a service that is no load balancer any more.
        (gateway(spec=""), []),
    ],
)
def test_where_a_labelled_service_is_reached(text: str, found: list[tuple[str, str, int]]) -> None:
    assert places(text) == found


EDGE, OTHER = 'edge: "yes"', 'edge: "no"'
NODES = (
    node("one", "{type: ExternalIP, address: 192.0.2.1}", EDGE)
    + node("two", "{type: ExternalIP, address: 192.0.2.2}", OTHER)
    + node("three", "{type: Hostname, address: three}", EDGE)
)


def at_nodes(selector: str) -> str:
    return gateway("type: NodePort, ", "", notes=f"{NODES_OF}: {selector!r}")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (at_nodes('{"edge": "yes"}'), ["192.0.2.1"]),
        (at_nodes("{}"), ["192.0.2.1", "192.0.2.2"]),
        (at_nodes(""), ["192.0.2.1", "192.0.2.2"]),
        (at_nodes("edge"), ["192.0.2.1", "192.0.2.2"]),
        (at_nodes('{"edge": "maybe"}'), []),
        (gateway("type: NodePort, ", ""), []),  # not annotated
    ],
)
def test_nodes_are_where_a_node_port_is_reached(text: str, found: list[str]) -> None:
    assert places(text + NODES) == [("south", address, 31443) for address in found]


def test_nodes_come_and_go() -> None:
    state = translated(at_nodes("{}")).state
    assert not state.mesh.networks
    nodes = resources(NODES)
    known = upserted(nodes, state).state
    (row,) = known.mesh.networks.values()
    assert [it.address for it in row.gateways] == ["192.0.2.1", "192.0.2.2"]
    (row,) = apply(known, [Remove(nodes[0].ref)]).state.mesh.networks.values()
    assert [it.address for it in row.gateways] == ["192.0.2.2"]


WRITTEN = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  meshNetworks: |
    networks:
      own:
        endpoints: [{fromRegistry: Kubernetes}]
        gateways: [{registryServiceName: gw.istio-system.svc.cluster.local, port: 443}]
      other:
        gateways: [{registryServiceName: gw.istio-system.svc.cluster.local, port: 444}]
---
"""


def test_mesh_networks_name_services_of_the_clusters_own_network() -> None:
    assert places(WRITTEN + gateway(labels="")) == [("own", "192.0.2.1", 443)]
    assert places(WRITTEN + gateway()) == [("south", "192.0.2.1", 15443)]  # the label decides


def test_a_name_of_a_load_balancer_is_resolved() -> None:
    text = gateway(status="status: {loadBalancer: {ingress: [{hostname: a.b}]}}")
    found = ResolvedName(Metadata("a.b"), addresses=("192.0.2.5",))
    step = upserted([found], translated(text).state)
    (row,) = step.state.mesh.networks.values()
    assert [it.addresses for it in row.gateways] == [("192.0.2.5",)]
    assert row.gateways[0].of_service


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        (gateway(status=""), "status.loadBalancer", "NoEffect"),
        (
            gateway(labels=f'{LABEL}, networking.istio.io/gatewayPort: "70000"'),
            "metadata.labels[networking.istio.io/gatewayPort]",
            "InvalidPort",
        ),
        (
            at_nodes("[]") + NODES,
            f"metadata.annotations[{NODES_OF}]",
            "InvalidValue",
        ),
    ],
)
def test_what_is_wrong_with_a_gateway_is_said(text: str, path: str, reason: str) -> None:
    (problem,) = translated(text).problems
    assert (problem.ref, problem.path, problem.reason) == ("Service/istio-system/gw", path, reason)


def test_a_wrong_port_is_the_usual_one() -> None:
    text = gateway(labels=f"{LABEL}, networking.istio.io/gatewayPort: tls")
    assert places(text) == [("south", "192.0.2.1", 15443)]


def test_a_change_of_its_address_moves_nothing_else() -> None:
    state = translated(gateway()).state
    moved = translated(gateway(status=BALANCER.replace("192.0.2.1", "192.0.2.2")), state)
    assert {key.table for key in moved.delta.keys} == {"networks"}
