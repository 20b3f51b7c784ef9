import pytest

from libs.model.ids import SpiffeId
from libs.model.mesh import Mesh
from libs.proxy import node
from libs.proxy.errors import NodeError
from libs.proxy.node import Interception, ProxyType
from tests.support.mesh import mesh, workload

ID = "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local"
IDENTITY = SpiffeId("cluster.local", "shop", "web")
POD = workload(
    "web-1", service_account="web", addresses=("10.0.0.9", "fd00::9"), labels={"app": "web"}
)


def test_a_proxy_without_a_pod_yet_is_what_it_says() -> None:
    metadata = {
        "NAMESPACE": "shop",
        "SERVICE_ACCOUNT": "web",
        "LABELS": {"app": "web", "istio-locality": "eu.eu-1.a"},
        "INSTANCE_IPS": "10.0.0.1,fd00::1",
        "INTERCEPTION_MODE": "TPROXY",
        "HTTP_PROXY_PORT": "15007",
    }
    proxy = node.parse(ID, metadata, IDENTITY, Mesh())
    assert proxy.type is ProxyType.SIDECAR
    assert (proxy.name, proxy.namespace) == ("web-1", "shop")
    assert proxy.addresses == ("10.0.0.1", "fd00::1")
    assert proxy.labels["app"] == "web"
    assert proxy.locality.zone == "eu-1"
    assert proxy.interception is Interception.TPROXY
    assert proxy.http_proxy_port == 15007


def test_the_pod_decides_once_it_is_seen() -> None:
    claimed = {"LABELS": {"app": "admin"}, "INSTANCE_IPS": "10.9.9.9"}
    proxy = node.parse(ID, claimed, IDENTITY, mesh(POD))
    assert proxy.labels == {"app": "web"}
    assert proxy.addresses == POD.addresses


@pytest.mark.parametrize(
    ("node_id", "metadata", "said"),
    [
        ("sidecar~10.0.0.1~web-1.shop", {}, "a node id is"),
        ("waypoint~10.0.0.1~web-1.shop~x", {}, "sidecar or a router"),
        ("sidecar~10.0.0.1~web-1~x", {}, "names its pod"),
        ("sidecar~10.0.0.1~web-1.other~x", {}, "claims namespace"),
        (ID, {"NAMESPACE": "other"}, "claims namespace"),
        (ID, {"SERVICE_ACCOUNT": "admin"}, "claims service account"),
        ("sidecar~nowhere~web-1.shop~x", {}, "not an IP address"),
        (ID, {"INSTANCE_IPS": "10.0.0.1,evil"}, "not an IP address"),
        (ID, {"HTTP_PROXY_PORT": "0"}, "not a port"),
        (ID, {"HTTP_PROXY_PORT": "9" * 5000}, "not a port"),
        (ID, {"INTERCEPTION_MODE": "MAGIC"}, "INTERCEPTION_MODE"),
        (ID, {"SEINE_OUTBOUND_ADDRESS": "::not"}, "not an IP address"),
    ],
)
def test_a_node_that_lies_or_is_malformed_is_refused(
    node_id: str, metadata: dict[str, object], said: str
) -> None:
    with pytest.raises(NodeError, match=said):
        node.parse(node_id, metadata, IDENTITY, Mesh())


def test_a_proxy_cannot_take_the_name_of_another_accounts_pod() -> None:
    thief = SpiffeId("cluster.local", "shop", "thief")
    with pytest.raises(NodeError, match="service account of the workload"):
        node.parse(ID, {}, thief, mesh(POD))


def test_metadata_of_wrong_types_counts_as_absent() -> None:
    metadata: dict[str, object] = {"NAMESPACE": 7, "LABELS": ["app"], "INSTANCE_IPS": None}
    proxy = node.parse(ID, metadata, IDENTITY, Mesh())
    assert proxy.labels == {}
    assert proxy.addresses == ("10.0.0.1",)


@pytest.mark.parametrize(
    ("said", "milliseconds"),
    [("1m30s", 90_000), ("0s", 0), ("", None), ("soon", None), ("-3s", None)],
)
def test_what_is_no_idle_timeout_counts_as_absent(said: str, milliseconds: int | None) -> None:
    proxy = node.parse(ID, {"IDLE_TIMEOUT": said}, IDENTITY, Mesh())
    assert proxy.idle_timeout == milliseconds


@pytest.mark.parametrize(("said", "served"), [("1", True), ("0", False), ("true", False)])
def test_http10_is_served_where_the_pod_asks_for_it(said: str, served: bool) -> None:
    assert node.parse(ID, {"HTTP10": said}, IDENTITY, Mesh()).http10 is served
