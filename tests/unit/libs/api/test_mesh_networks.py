import pytest

from libs.api import mesh_networks
from libs.api.kubernetes import ConfigMap
from libs.api.mesh_networks import MeshNetworks, Network, NetworkEndpoints
from libs.api.report import Report
from libs.api.resource import Metadata


def read(text: str) -> tuple[MeshNetworks, Report]:
    resource = ConfigMap(Metadata("istio", "istio-system"), {mesh_networks.KEY: text})
    report = Report(resource.ref)
    return mesh_networks.read(resource, report), report


def said(text: str) -> list[tuple[str, str]]:
    _, report = read(text)
    return [(it.path.removeprefix("data.meshNetworks"), it.reason) for it in report.problems]


@pytest.mark.parametrize("text", ["", "networks: {}", "networks: {n1: {}}", "networks:"])
def test_nothing_is_wrong_with_no_networks(text: str) -> None:
    assert said(text) == []


def test_what_is_written_is_read() -> None:
    networks, report = read(
        "networks: {n1: {endpoints: [{fromCidr: 10.0.0.0/8}, {from_registry: c1}]}}"
    )
    assert report.problems == []
    expected = (NetworkEndpoints(from_cidr="10.0.0.0/8"), NetworkEndpoints(from_registry="c1"))
    assert networks.networks == {"n1": Network(endpoints=expected)}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("networks: {", [("", "InvalidYaml")]),
        ("network: {}", [(".network", "UnknownField")]),
        ("networks: []", [(".networks", "WrongType")]),
    ],
)
def test_what_is_no_text_of_networks_is_said(text: str, found: list[tuple[str, str]]) -> None:
    networks, _ = read(text)
    assert networks == MeshNetworks()
    assert said(text) == found


@pytest.mark.parametrize(
    ("endpoints", "found"),
    [
        ("{fromCidr: 10.0.0.1/8}", []),
        ("{fromCidr: 'fd00::/8'}", []),
        ("{fromRegistry: Kubernetes}", []),
        ("{}", [("", "MissingField")]),
        ("{fromCidr: 10.0.0.0/8, fromRegistry: a}", [("", "ConflictingFields")]),
        ("{fromCidr: 10.0.0.1}", [(".fromCidr", "InvalidAddress")]),
        ("{fromCidr: 10.0.0.0/33}", [(".fromCidr", "InvalidAddress")]),
        ("{fromRegistry: a.b}", [(".fromRegistry", "InvalidName")]),
    ],
)
def test_endpoints_are_judged(endpoints: str, found: list[tuple[str, str]]) -> None:
    place = ".networks.n1.endpoints[0]"
    expected = [(f"{place}{path}", reason) for path, reason in found]
    assert said(f"networks: {{n1: {{endpoints: [{endpoints}]}}}}") == expected


@pytest.mark.parametrize(
    ("gateway", "found"),
    [
        ("{address: 192.0.2.1, port: 15443}", []),
        ("{address: 'fd00::1', port: 15443}", []),
        ("{address: gw.example.com, port: 15443}", []),
        ("{registryServiceName: gw.a.svc.cluster.local, port: 1}", []),
        ("{port: 1}", [("", "MissingField")]),
        ("{address: 1.2.3.4, registryServiceName: a.b, port: 1}", [("", "ConflictingFields")]),
        ("{address: a_b, port: 1}", [(".address", "InvalidAddress")]),
        ("{registryServiceName: 'a:b', port: 1}", [(".registryServiceName", "InvalidHost")]),
        ("{address: 1.2.3.4}", [(".port", "InvalidPort")]),
        ("{address: 1.2.3.4, port: 70000}", [(".port", "InvalidPort")]),
        ("{address: 1.2.3.4, port: 1, locality: r}", [(".locality", "NoEffect")]),
    ],
)
def test_gateways_are_judged(gateway: str, found: list[tuple[str, str]]) -> None:
    place = ".networks.n1.gateways[0]"
    expected = [(f"{place}{path}", reason) for path, reason in found]
    assert said(f"networks: {{n1: {{gateways: [{gateway}]}}}}") == expected
