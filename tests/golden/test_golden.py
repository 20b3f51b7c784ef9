import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster

from libs.xds.types import CLUSTER, Snapshot, resource, resource_set
from tests.golden.cases import ROOT, Case, every
from tests.support.static_envoy import refusal

CASES = every()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_manifests_give_the_configuration_that_was_reviewed(case: Case) -> None:
    assert case.expected.exists(), "no out.yaml yet: `make golden` writes it"
    expected = case.expected.read_text()
    assert case.output() == expected, "if this is meant: `make golden`, and read the difference"


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_envoy_accepts_all_that_a_proxy_gets(case: Case) -> None:
    refused = {proxy: text for proxy, whole in case.rendered() if (text := refusal(whole.snapshot))}
    assert not refused


def test_every_expected_output_has_its_manifests() -> None:
    orphans = [
        found for found in ROOT.glob("*/out.yaml") if not (found.parent / "in.yaml").exists()
    ]
    assert not orphans


def test_envoy_would_refuse_a_broken_output() -> None:
    broken = Cluster(name="x", lb_policy=Cluster.LbPolicy.CLUSTER_PROVIDED)
    made = resource("x", CLUSTER, body=broken.SerializeToString())
    snapshot = Snapshot({CLUSTER: resource_set(CLUSTER, [made])})
    assert "cluster provided LB specified" in refusal(snapshot)
