from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from google.protobuf.duration_pb2 import Duration

from libs.xds.generate import newer
from libs.xds.types import CLUSTER, Snapshot, resource, resource_set
from tests.support.static_envoy import refusal

Budget = CircuitBreakers.Thresholds.RetryBudget


def test_bytes_stand_where_the_bindings_know_no_field() -> None:
    tracing = hcm.HttpConnectionManager.Tracing()
    newer.set_true(tracing, 13)
    assert tracing.SerializeToString() == b"\x68\x01"
    budget = Budget()
    newer.set_message(budget, 3, Duration(seconds=10))
    assert budget.SerializeToString() == b"\x1a\x02\x08\x0a"


def test_the_bindings_still_do_not_know_them() -> None:
    assert "budget_interval" not in Budget.DESCRIPTOR.fields_by_name
    known = hcm.HttpConnectionManager.Tracing.DESCRIPTOR.fields_by_name
    assert "no_context_propagation" not in known


def _refusal(interval: Duration) -> str:
    cluster = Cluster(name="x", type=Cluster.DiscoveryType.STATIC)
    budget = cluster.circuit_breakers.thresholds.add().retry_budget
    newer.set_message(budget, 3, interval)
    made = resource("x", CLUSTER, body=cluster.SerializeToString())
    return refusal(Snapshot({CLUSTER: resource_set(CLUSTER, [made])}))


def test_envoy_reads_them() -> None:
    assert not _refusal(Duration(seconds=10))
    assert "positive duration" in _refusal(Duration(seconds=-10))
