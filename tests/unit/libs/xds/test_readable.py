from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.wasm.v3.wasm_pb2 import EnvironmentVariables

from libs.proxy.inbound import inbound_scope
from libs.xds import readable
from libs.xds.generate import metrics, tcp
from tests.support import mesh as rows


def test_maps_come_in_order_whatever_order_they_were_made_in() -> None:
    shown = []
    for names in (("b", "a", "c"), ("c", "b", "a")):
        rules, cluster, variables = RBAC(), Cluster(), EnvironmentVariables()
        for name in names:
            rules.policies[name].SetInParent()
            variables.key_values[name] = name
            cluster.metadata.filter_metadata["istio"].fields[name].bool_value = True
        policies = readable.as_json(rules)["policies"]
        metadata = readable.as_json(cluster)["metadata"]
        values = readable.as_json(variables)["key_values"]
        assert isinstance(policies, dict)
        assert isinstance(metadata, dict)
        assert isinstance(values, dict)
        shown.append((list(policies), list(metadata["filter_metadata"]["istio"]), list(values)))
    assert shown[0] == shown[1] == (["a", "b", "c"],) * 3


def test_what_the_protos_do_not_know_is_shown_nevertheless() -> None:
    own = inbound_scope(rows.mesh(), rows.proxy())
    listener = Listener()
    proxy = tcp.tcp_proxy(own=own, direction="outbound", stat_prefix="x", cluster="c")
    listener.filter_chains.add(filters=[proxy])
    text = str(readable.as_json(listener))
    assert text.count(metrics.TYPE_URL) == text.count(str(metrics.SCOPE)) == 2


def test_the_scope_that_is_shown_is_the_one_that_is_sent() -> None:
    (log,) = metrics.of_requests(metrics.side(inbound_scope(rows.mesh(), rows.proxy())), "inbound")
    assert log.typed_config.value.endswith(b"\x2a\x05istio"), "field 5 of the scope: its prefix"
    assert metrics.SCOPE["prefix"] == "istio"
