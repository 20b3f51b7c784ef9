"""In which network an endpoint is, and what is said of networks that come to nothing."""

import pytest

from libs.api.resolved_name import ResolvedName
from libs.api.resource import Metadata
from libs.model.mesh import Mesh
from libs.model.networks import NetworkGateway
from libs.translate.apply import Remove, Upsert, apply
from tests.support.resources import mesh_of, resources, translated, upserted

CONFIG_MAP = "ConfigMap/istio-system/istio"


def networks(*lines: str) -> str:
    text = "\n      ".join(lines)
    return f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  meshNetworks: |
    networks:
      {text}
---
"""


def system(network: str) -> str:
    return f"""
apiVersion: v1
kind: Namespace
metadata: {{name: istio-system, labels: {{topology.istio.io/network: {network}}}}}
---
"""


def pod(label: str = "", address: str = "10.1.0.1") -> str:
    labels = f"{{app: web, topology.istio.io/network: {label}}}" if label else "{app: web}"
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: web-1, namespace: shop, labels: {labels}}}
spec: {{serviceAccountName: web}}
status: {{podIP: {address}, conditions: [{{type: Ready, status: "True"}}]}}
---
{SERVICE}
"""


SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{name: http, port: 80}]}
---
"""


def a_slice(address: str = "10.1.0.1", target: str = "") -> str:
    return f"""
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-a, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
endpoints: [{{addresses: [{address}]{target}}}]
ports: [{{name: http, port: 80, protocol: TCP}}]
---
"""


OF_POD = ", targetRef: {kind: Pod, name: web-1, namespace: shop}"
OWN = networks("own: {endpoints: [{fromRegistry: Kubernetes}]}")
WIDE = networks(
    "narrow: {endpoints: [{fromCidr: 10.1.0.0/24}]}",
    "wide: {endpoints: [{fromCidr: 10.1.0.1/16}, {fromCidr: 'fd00::/8'}]}",
)


BOTH = networks(
    "b: {endpoints: [{fromRegistry: Kubernetes}]}", "a: {endpoints: [{fromCidr: 10.0.0.0/8}]}"
)


def network_of(mesh: Mesh) -> str:
    (row,) = mesh.endpoints.values()
    (endpoint,) = row.endpoints
    return endpoint.network


@pytest.mark.parametrize(
    ("around", "label", "network"),
    [
        ("", "", ""),
        ("", "labelled", "labelled"),
        (system("cluster"), "", "cluster"),
        (system("cluster"), "labelled", "labelled"),
        (system("cluster") + OWN, "", "cluster"),
        (OWN, "", "own"),
        (OWN, "labelled", "labelled"),
        (WIDE, "", "wide"),  # the widest block counts, as with Istio
        (networks("other: {endpoints: [{fromCidr: 10.2.0.0/16}]}"), "", ""),
        (networks("other: {endpoints: [{fromRegistry: elsewhere}]}"), "", ""),
        (BOTH, "", "b"),
    ],
)
def test_what_places_an_endpoint(around: str, label: str, network: str) -> None:
    mesh = mesh_of(around + pod(label) + a_slice(target=OF_POD))
    assert network_of(mesh) == network
    (workload,) = mesh.workloads.values()
    assert workload.network == network, "its proxy looks from where others see it"


@pytest.mark.parametrize(("around", "network"), [(system("cluster"), "cluster"), (OWN, "own")])
def test_an_endpoint_without_a_pod_is_in_the_clusters_network(around: str, network: str) -> None:
    assert network_of(mesh_of(around + SERVICE + a_slice())) == network


def test_a_workload_entry_is_where_it_says_and_nowhere_else() -> None:
    entry = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: web-1, namespace: shop}}
spec: {{address: 10.1.0.1, labels: {{app: web, topology.istio.io/network: labelled}}{}}}
---
"""
    around = system("cluster") + OWN + SERVICE
    assert network_of(mesh_of(around + entry.format(", network: own"))) == "own"
    assert network_of(mesh_of(around + entry.format(""))) == ""


def test_a_label_of_the_system_namespace_that_comes_later_moves_its_endpoints() -> None:
    state = translated(pod() + a_slice(target=OF_POD)).state
    step = translated(system("late"), state)
    assert network_of(step.state.mesh) == "late"
    mesh = translated(OWN, state).state.mesh
    assert network_of(mesh) == "own"
    assert [it.network for it in mesh.workloads.values()] == ["own"]


GATEWAYS = networks(
    "south: {gateways: [{address: 192.0.2.1, port: 15443}, {address: GW.example.com, port: 443}]}"
)


def test_gateways_are_written_down() -> None:
    (row,) = mesh_of(GATEWAYS).networks.values()
    named, numbered = (
        NetworkGateway(network="south", address="GW.example.com", port=443),
        NetworkGateway(network="south", address="192.0.2.1", port=15443, addresses=("192.0.2.1",)),
    )
    assert set(row.gateways) == {named, numbered}


def resolved(*addresses: str, fault: str = "") -> ResolvedName:
    return ResolvedName(Metadata("gw.example.com"), addresses=addresses, fault=fault)


def test_a_name_has_the_addresses_that_were_found() -> None:
    state = translated(GATEWAYS).state
    step = upserted([resolved("192.0.2.7", "192.0.2.8")], state)
    (row,) = step.state.mesh.networks.values()
    assert row.gateways[-1].addresses == ("192.0.2.7", "192.0.2.8")
    assert step.delta.causes == ("ResolvedName//gw.example.com",)
    assert not step.problems


def test_a_name_that_is_not_found_is_said() -> None:
    state = translated(GATEWAYS).state
    step = upserted([resolved(fault="no such name")], state)
    (problem,) = step.problems
    place = "data.meshNetworks.networks.south.gateways[1].address"
    assert (problem.ref, problem.path) == (CONFIG_MAP, place)
    assert "no such name" in problem.text


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (networks("a: {endpoints: [{fromRegistry: other}]}"), ".a.endpoints[0].fromRegistry"),
        (
            networks("a: {gateways: [{registryServiceName: gw.x, port: 1}]}"),
            ".a.gateways[0].registryServiceName",
        ),
        (
            networks(*(f"{name}: {{endpoints: [{{fromRegistry: Kubernetes}}]}}" for name in "ab")),
            "",
        ),
    ],
)
def test_what_comes_to_nothing_is_said(text: str, path: str) -> None:
    (problem,) = translated(text).problems
    assert problem.path == f"data.meshNetworks.networks{path}"


def test_two_networks_cannot_both_have_the_cluster() -> None:
    text = networks(*(f"{name}: {{endpoints: [{{fromRegistry: Kubernetes}}]}}" for name in "ba"))
    (row,) = mesh_of(text).networks.values()
    assert row.own == "a"


def test_external_registries_are_nobodys_mistake() -> None:
    assert not translated(networks("a: {endpoints: [{fromRegistry: External}]}")).problems


LONELY = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: far, namespace: shop}
spec: {network: south, labels: {app: web}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: far, namespace: shop}
spec:
  hosts: [far.example.com]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{network: south}]
---
"""


def test_who_has_neither_address_nor_gateway_is_told() -> None:
    step = translated(LONELY)
    assert {(it.ref, it.path) for it in step.problems} == {
        ("WorkloadEntry/shop/far", "spec.address"),
        ("ServiceEntry/shop/far", "spec.endpoints[0].address"),
    }
    entered = translated(GATEWAYS, step.state)
    assert not entered.problems
    (config_map,) = resources(GATEWAYS)
    gone = apply(entered.state, [Remove(config_map.ref)])
    assert gone.problems == step.problems


def test_entries_known_by_their_network_alone_are_endpoints_each() -> None:
    entry = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {0}, namespace: shop}}
spec: {{network: {1}, labels: {{app: web}}}}
---
"""
    mesh = mesh_of(
        SERVICE + entry.format("a", "s") + entry.format("b", "s") + entry.format("c", "t")
    )
    (row,) = mesh.endpoints.values()
    found = [(it.address, it.network, it.workload) for it in row.endpoints]
    assert found == [
        ("", "s", "shop/entry/a"),
        ("", "s", "shop/entry/b"),
        ("", "t", "shop/entry/c"),
    ]


def test_only_the_meshs_own_config_map_counts() -> None:
    (config_map,) = resources(GATEWAYS.replace("name: istio,", "name: other,"))
    assert not upserted([config_map]).state.mesh.networks


def test_networks_that_are_taken_out_are_gone() -> None:
    state = translated(GATEWAYS).state
    assert state.mesh.networks
    (empty,) = resources(networks("{}"))
    assert not apply(state, [Upsert(empty)]).state.mesh.networks
