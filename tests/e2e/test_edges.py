"""Who comes in through a gateway, and who goes out to what a ServiceEntry names."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.edges import EDGE, ELSEWHERE, HOST, OUTSIDE, Edges
from tests.support.kind_cluster import Cluster, containers
from tests.support.mesh_report import Report

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def edges(cluster: Cluster, report: Report) -> Iterator[Edges]:
    shop = cluster.get("deployment", "storefront-v1", "-n", "bookshop")
    made = Edges(cluster, shop["spec"]["template"]["spec"]["containers"][0]["image"])
    try:
        with report.step("a gateway, and a server outside of the mesh"):
            made.start()
        yield made
    finally:
        made.delete()


def test_a_gateway_serves_its_host_with_the_secret_s_certificate(
    edges: Edges, report: Report
) -> None:
    answer = edges.from_outside(HOST)
    assert answer["status"] == 200, answer
    asked = _asked(answer)
    assert asked["host"] == HOST
    assert asked["x-forwarded-proto"] == "https"
    assert f"spiffe://cluster.local/ns/{EDGE}/sa/gateway" in asked["x-forwarded-client-cert"]
    report.note(f"through the gateway: {asked['x-forwarded-client-cert']}")
    assert containers(edges.pod(EDGE, "gateway")) == {"istio-proxy"}


def test_a_name_that_only_a_service_entry_knows_is_found_and_called(
    edges: Edges, report: Report
) -> None:
    answer = edges.from_inside(f"http://{ELSEWHERE}/")
    assert answer["status"] == 200, answer
    assert json.loads(answer["body"])["pod"] == edges.pod(OUTSIDE, "echo")["metadata"]["name"]
    assert "x-forwarded-client-cert" not in _asked(answer)
    report.note(f"outside of the mesh: {ELSEWHERE} answers")


def test_what_nobody_names_is_neither_served_nor_found(edges: Edges) -> None:
    served = edges.from_outside(f"other.{HOST}", seconds=0)
    assert served["status"] == 0, served
    assert "ssl" in served["body"].lower() or "reset" in served["body"].lower()
    found = edges.from_inside(f"http://other.{ELSEWHERE}/", seconds=0)
    assert found["status"] == 0, found
    assert "resolution" in found["body"] or "not known" in found["body"]


def _asked(answer: dict[str, Any]) -> dict[str, str]:
    """Return the headers that the server saw."""
    found: dict[str, str] = json.loads(answer["body"])["headers"]
    return found
