import pytest

from tests.support.rulings import of_virtual_service

ROUTING = "hosts: [a]\nhttp: [{route: [{destination: {host: a}}]}]\ngateways: %s"


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("[mesh]", "['']"),
        ("[edge]", "[ed_ge]"),
        ("[there/edge]", "[there/]"),
        ("[there/edge, mesh]", "[/edge]"),
        ("[there/Edge]", "[there/ed.ge]"),
        ("[there/edge]", "[there/edge/x]"),
    ],
)
def test_names(good: str, bad: str) -> None:
    assert of_virtual_service(ROUTING % good) == []
    assert of_virtual_service(ROUTING % bad) == ["spec.gateways[0] InvalidGateway"]


def test_dots_still_work() -> None:
    found = of_virtual_service(ROUTING % "[edge.there.svc.cluster.local]")
    assert found == ["warning spec.gateways[0] Deprecated"]


def test_istio_does_not_look_behind_a_plain_name() -> None:
    found = of_virtual_service(ROUTING % "[mesh, there/]")
    assert found == ["warning spec.gateways[1] InvalidGateway"]


def test_matches_name_gateways_too() -> None:
    match = "http: [{match: [{gateways: [%s]}], route: [{destination: {host: a}}]}]\nhosts: [a]"
    assert of_virtual_service(match % "mesh") == []
    found = of_virtual_service(match % "there/")
    assert found == ["spec.http[0].match[0].gateways[0] InvalidGateway"]
