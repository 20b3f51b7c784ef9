import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from msgspec import structs

from libs.model.security import MtlsMode
from libs.model.service import Protocol, ServicePort
from libs.model.settings import MeshSettings
from libs.proxy.inbound import inbound_scope
from libs.proxy.node import Interception, Proxy, ProxyType
from libs.proxy.scope import InboundPort
from libs.xds.generate import inbound_clusters
from tests.support import mesh as rows

LABELS = {"app": "web"}
POD = rows.workload("web-1", labels=LABELS)
PROXY = rows.proxy("web-1")
EXPLICIT = structs.replace(
    PROXY, interception=Interception.NONE, addresses=("127.1.2.3",), application_address="127.9.9.9"
)


def clusters(
    protocol: Protocol = Protocol.HTTP,
    settings: MeshSettings | None = None,
    proxy: Proxy = PROXY,
) -> dict[str, Cluster]:
    web = rows.service("web", ServicePort(80, "x", protocol, 8080), selector=LABELS)
    mesh = rows.mesh(POD, web, settings or MeshSettings())
    found = inbound_clusters.generate(inbound_scope(mesh, proxy))
    return {one.name: Cluster.FromString(one.body) for one in found}


def options(cluster: Cluster) -> HttpProtocolOptions:
    found = HttpProtocolOptions()
    for packed in cluster.typed_extension_protocol_options.values():
        assert packed.Unpack(found)
    return found


def test_with_interception_the_proxy_calls_what_the_client_dialled() -> None:
    found = clusters()
    assert sorted(found) == ["InboundPassthroughCluster", "inbound|8080||"]
    for cluster in found.values():
        assert cluster.type == Cluster.DiscoveryType.ORIGINAL_DST
        assert cluster.lb_policy == Cluster.LbPolicy.CLUSTER_PROVIDED
        assert cluster.upstream_bind_config.source_address.address == "127.0.0.6"
        assert cluster.alt_stat_name == f"{cluster.name};"
        [limits] = cluster.circuit_breakers.thresholds
        assert limits.max_connections.value == 2**32 - 1


def test_a_mesh_may_send_everything_to_loopback() -> None:
    cluster = clusters(settings=MeshSettings(passthrough_inbound=False))["inbound|8080||"]
    assert _address(cluster) == ("127.0.0.1", 8080)


def test_without_interception_the_proxy_calls_where_the_application_listens() -> None:
    [cluster] = clusters(proxy=EXPLICIT).values()
    assert _address(cluster) == ("127.9.9.9", 8080)
    assert not cluster.HasField("upstream_bind_config")


def _address(cluster: Cluster) -> tuple[str, int]:
    assert cluster.type == Cluster.DiscoveryType.STATIC
    [locality] = cluster.load_assignment.endpoints
    where = locality.lb_endpoints[0].endpoint.address.socket_address
    return where.address, where.port_value


def test_the_application_is_spoken_to_as_its_port_says() -> None:
    for protocol in (Protocol.GRPC, Protocol.HTTP2, Protocol.GRPC_WEB):
        explicit = options(clusters(protocol)["inbound|8080||"]).explicit_http_config
        assert explicit.HasField("http2_protocol_options")
    sniffed = options(clusters(Protocol.AUTO)["inbound|8080||"])
    assert sniffed.HasField("use_downstream_protocol_config")
    assert not clusters(Protocol.HTTP)["inbound|8080||"].typed_extension_protocol_options
    passthrough = options(clusters()["InboundPassthroughCluster"])
    assert passthrough.HasField("use_downstream_protocol_config")


def test_metadata_names_the_service() -> None:
    metadata = clusters()["inbound|8080||"].metadata.filter_metadata["istio"]
    [service] = metadata["services"]
    assert dict(service) == {
        "host": "web.shop.svc.cluster.local",
        "name": "web",
        "namespace": "shop",
    }


def test_a_gateway_has_no_inbound_clusters() -> None:
    assert clusters(proxy=structs.replace(PROXY, type=ProxyType.ROUTER)) == {}


@pytest.mark.parametrize(
    ("endpoint", "source"),
    [
        ("10.244.0.9", "127.0.0.6"),  # else interception would bring the connection back
        ("127.0.0.1", ""),
        ("::1", ""),
        ("unix:///app.sock", ""),
    ],
)
def test_a_sidecars_ingress_leads_to_the_own_address_past_interception(
    endpoint: str, source: str
) -> None:
    port = InboundPort(
        port=9080,
        protocol=Protocol.TCP,
        mode=MtlsMode.PERMISSIVE,
        service=rows.service("web"),
        endpoint=endpoint,
        endpoint_port=0 if endpoint.startswith("unix") else 8080,
    )
    scope = structs.replace(inbound_scope(rows.mesh(POD), PROXY), ports=(port,))
    cluster = Cluster.FromString(inbound_clusters.generate(scope)[0].body)
    assert cluster.upstream_bind_config.source_address.address == source
    explicit = structs.replace(scope, interception=Interception.NONE)
    cluster = Cluster.FromString(inbound_clusters.generate(explicit)[0].body)
    assert not cluster.HasField("upstream_bind_config")
