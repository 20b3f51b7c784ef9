import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.health_check_pb2 import HealthStatus
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from msgspec import Struct, structs

from libs.model.endpoint import Endpoint, EndpointSet
from libs.model.security import MtlsMode
from libs.model.service import Protocol, Resolution, ServicePort
from libs.model.settings import MeshSettings
from libs.model.traffic import (
    ClientTls,
    ConnectionPool,
    Keepalive,
    LoadBalancing,
    OutlierDetection,
    Simple,
    Subset,
    TlsMode,
    TrafficPolicy,
)
from libs.proxy.node import Interception, ProxyType
from libs.xds.generate.connection_pool import PROTOCOL_OPTIONS
from libs.xds.types import CLUSTER
from tests.support.mesh import endpoints, host_policy, peer_policy, port, service
from tests.support.scopes import clusters, resources

WEB = service("web")
NAME = f"outbound|80||{WEB.host}"
_Type = Cluster.DiscoveryType


def policy(host: str = WEB.host, **fields: object) -> Struct:
    return host_policy("p", host, policy=TrafficPolicy(**fields))  # type: ignore[arg-type]


def options(cluster: Cluster) -> HttpProtocolOptions:
    found = HttpProtocolOptions()
    cluster.typed_extension_protocol_options[PROTOCOL_OPTIONS].Unpack(found)
    return found


def mesh_tls(cluster: Cluster) -> UpstreamTlsContext:
    found = UpstreamTlsContext()
    sockets = [match.transport_socket for match in cluster.transport_socket_matches]
    (sockets[0] if sockets else cluster.transport_socket).typed_config.Unpack(found)
    return found


def test_there_is_a_cluster_for_each_port_and_subset() -> None:
    web = service("web", port(80), port(90, Protocol.GRPC), port(53, Protocol.UDP))
    subsets = host_policy("p", web.host, subsets=(Subset("v1"), Subset("v2")))
    assert [name for name in clusters(web, subsets) if name.startswith("outbound")] == [
        f"outbound|{number}|{subset}|{web.host}"
        for number in (80, 90)
        for subset in ("", "v1", "v2")
    ]


def test_a_sidecar_can_send_elsewhere_and_nowhere_and_a_router_only_nowhere() -> None:
    assert {"BlackHoleCluster", "PassthroughCluster"} <= set(clusters(WEB))
    router = clusters(WEB, type=ProxyType.ROUTER)
    assert "BlackHoleCluster" in router
    assert "PassthroughCluster" not in router


def test_a_cluster_says_where_it_came_from() -> None:
    found = resources(CLUSTER, WEB, policy())[NAME]
    assert found.sources == ("DestinationRule/shop/p", "Service/shop/web")
    fields = clusters(WEB, policy())[NAME].metadata.filter_metadata["istio"].fields
    path = "/apis/networking.istio.io/v1/namespaces/shop/destination-rule/p"
    assert fields["config"].string_value == path
    service_of = fields["services"].list_value.values[0].struct_value.fields
    assert service_of["host"].string_value == WEB.host


@pytest.mark.parametrize(
    ("resolution", "client", "expected"),
    [
        (Resolution.ENDPOINTS, {}, _Type.EDS),
        (Resolution.ORIGINAL, {}, _Type.ORIGINAL_DST),
        (Resolution.ORIGINAL, {"type": ProxyType.ROUTER}, _Type.EDS),
        (Resolution.ORIGINAL, {"interception": Interception.NONE}, _Type.EDS),
        (Resolution.DNS, {}, _Type.STRICT_DNS),
        (Resolution.DNS_ROUND_ROBIN, {}, _Type.LOGICAL_DNS),
    ],
)
def test_how_endpoints_are_found(
    resolution: Resolution, client: dict[str, object], expected: int
) -> None:
    web = service("web", resolution=resolution)
    named = Endpoint(address="db.example.com", port=80, port_name=web.ports[0].name)
    found = clusters(web, EndpointSet(key=web.key, endpoints=(named,)), **client)[NAME]
    assert found.type == expected
    provided = expected == _Type.ORIGINAL_DST
    assert (found.lb_policy == Cluster.LbPolicy.CLUSTER_PROVIDED) is provided


@pytest.mark.parametrize(
    ("of", "client", "expected"),
    [
        ({"registry": "External"}, {}, 9043),
        ({"registry": "Kubernetes"}, {}, 0),  # a headless one's pods are dialled where they listen
        ({"registry": "External", "resolution": Resolution.ENDPOINTS}, {}, 0),
        ({"registry": "External"}, {"interception": Interception.NONE}, 0),
    ],
)
def test_what_was_dialled_is_continued_at_the_port_that_its_entry_names(
    of: dict[str, object], client: dict[str, object], expected: int
) -> None:
    to = ServicePort(9042, "tcp", Protocol.TCP, target=9043)
    found = clusters(service("web", to, **{"resolution": Resolution.ORIGINAL, **of}), **client)
    config = found[f"outbound|9042||{WEB.host}"].original_dst_lb_config
    assert config.upstream_port_override.value == expected


def test_a_dns_service_without_endpoints_has_no_cluster() -> None:
    assert NAME not in clusters(service("web", resolution=Resolution.DNS))


def test_nothing_is_limited_unless_somebody_asks() -> None:
    (found,) = clusters(WEB)[NAME].circuit_breakers.thresholds
    unlimited = 2**32 - 1
    assert found.max_connections.value == found.max_requests.value == unlimited
    assert found.max_pending_requests.value == found.max_retries.value == unlimited


def test_connections_live_as_long_as_the_pool_says() -> None:
    pool = ConnectionPool(
        connect_timeout=30,
        tcp_idle_timeout=60_000,
        max_requests_per_connection=7,
        keepalive=Keepalive(time=7_200_000),
    )
    found = clusters(WEB, policy(connection_pool=pool))[NAME]
    assert found.connect_timeout.ToMilliseconds() == 30
    assert found.upstream_connection_options.tcp_keepalive.keepalive_time.value == 7200
    common = options(found).common_http_protocol_options
    assert common.idle_timeout.ToSeconds() == 60
    assert common.max_requests_per_connection.value == 7


def test_the_http_idle_timeout_comes_before_that_of_tcp() -> None:
    pool = ConnectionPool(tcp_idle_timeout=60_000, http_idle_timeout=5_000)
    found = options(clusters(WEB, policy(connection_pool=pool))[NAME])
    assert found.common_http_protocol_options.idle_timeout.ToSeconds() == 5


@pytest.mark.parametrize("protocol", [Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB])
def test_http2_is_spoken_to_ports_that_want_it(protocol: Protocol) -> None:
    web = service("web", port(80, protocol))
    found = clusters(web, endpoints(web, "10.0.0.1"))[NAME]
    assert options(found).explicit_http_config.HasField("http2_protocol_options")
    assert list(mesh_tls(found).common_tls_context.alpn_protocols)[-1] == "h2"


@pytest.mark.parametrize(
    ("wanted", "mesh_wide", "expected"),
    [
        ("", False, False),
        ("", True, True),
        ("UPGRADE", False, True),
        ("DO_NOT_UPGRADE", True, False),
    ],
)
def test_http1_is_upgraded_where_asked(wanted: str, mesh_wide: bool, expected: bool) -> None:
    pool = policy(connection_pool=ConnectionPool(h2_upgrade=wanted))
    found = clusters(WEB, pool, MeshSettings(h2_upgrade=mesh_wide))[NAME]
    assert options(found).explicit_http_config.HasField("http2_protocol_options") is expected


def test_a_port_whose_protocol_is_unknown_speaks_what_the_client_speaks() -> None:
    web = service("web", port(80, Protocol.AUTO))
    kind = options(clusters(web)[NAME]).WhichOneof("upstream_protocol_options")
    assert kind == "use_downstream_protocol_config"


def test_no_unhealthy_endpoint_is_used_while_few_are_left() -> None:
    assert clusters(WEB)[NAME].common_lb_config.HasField("healthy_panic_threshold")
    outlier = OutlierDetection(consecutive_5xx=3, min_health_percent=30)
    found = clusters(WEB, policy(outlier_detection=outlier))[NAME]
    assert found.common_lb_config.healthy_panic_threshold.value == 30
    assert found.outlier_detection.enforcing_consecutive_5xx.value == 100
    assert found.outlier_detection.enforcing_success_rate.value == 0
    assert found.outlier_detection.HasField("enforcing_success_rate")


def test_mesh_tls_is_for_endpoints_that_have_it() -> None:
    found = clusters(WEB, endpoints(WEB, "10.0.0.1"))[NAME]
    names = [match.name for match in found.transport_socket_matches]
    assert names == ["tlsMode-istio", "tlsMode-disabled"]
    assert found.transport_socket_matches[0].match.fields["tlsMode"].string_value == "istio"
    assert found.transport_socket_matches[1].HasField("match")
    context = mesh_tls(found)
    assert context.sni == f"outbound_.80_._.{WEB.host}"
    assert list(context.common_tls_context.alpn_protocols) == ["istio-peer-exchange", "istio"]
    validation = context.common_tls_context.combined_validation_context.default_validation_context
    (name,) = validation.match_subject_alt_names
    assert name.exact == "spiffe://cluster.local/ns/shop/sa/web"


@pytest.mark.parametrize(
    "rows",
    [
        (structs.replace(WEB, external=True),),
        (WEB, MeshSettings(auto_mtls=False)),
        (WEB, peer_policy("off", mode=MtlsMode.DISABLE)),
        (WEB, peer_policy("off", namespace="istio-system", mode=MtlsMode.DISABLE)),
        (WEB, policy(tls=ClientTls(mode=TlsMode.DISABLE))),
    ],
)
def test_nothing_is_encrypted_where_that_is_wanted(rows: tuple[Struct, ...]) -> None:
    found = clusters(*rows, endpoints(WEB, "10.0.0.1"))[NAME]
    assert not found.transport_socket_matches
    assert not found.HasField("transport_socket")


@pytest.mark.parametrize(("everybody", "expected"), [(True, True), (False, False)])
def test_who_dials_pods_needs_a_sidecar_on_all_of_them(everybody: bool, expected: bool) -> None:
    pods = service("web", resolution=Resolution.ORIGINAL)
    rows = endpoints(pods, "10.0.0.1").endpoints
    rows += endpoints(pods, "10.0.0.2", mtls=everybody).endpoints
    found = clusters(pods, EndpointSet(key=pods.key, endpoints=rows))[NAME]
    assert found.HasField("transport_socket") is expected
    assert not found.transport_socket_matches


def test_a_passed_through_service_is_dialled_as_it_was() -> None:
    passed = policy(load_balancing=LoadBalancing(simple=Simple.PASSTHROUGH))
    found = clusters(WEB, endpoints(WEB, "10.0.0.1"), passed)[NAME]
    assert found.type == _Type.ORIGINAL_DST
    assert found.HasField("transport_socket")


def test_only_what_is_passed_through_does_without_mesh_tls_for_an_endpoint_s_sake() -> None:
    """Other subsets and ports of the same service still choose endpoint by endpoint."""
    web = service("web", port(80), port(90))
    passed = TrafficPolicy(load_balancing=LoadBalancing(simple=Simple.PASSTHROUGH))
    subsets = (Subset("v1"), Subset("v2", policy=passed))
    rows = endpoints(web, "10.0.0.1").endpoints + endpoints(web, "10.0.0.2", mtls=False).endpoints
    rule = host_policy("p", web.host, subsets=subsets)
    found = clusters(web, EndpointSet(key=web.key, endpoints=rows), rule)
    for number in (80, 90):
        assert found[f"outbound|{number}||{web.host}"].transport_socket_matches
        assert found[f"outbound|{number}|v1|{web.host}"].transport_socket_matches
        dialled = found[f"outbound|{number}|v2|{web.host}"]
        assert dialled.type == _Type.ORIGINAL_DST
        assert not dialled.transport_socket_matches
        assert not dialled.HasField("transport_socket")


SECRET = ClientTls(mode=TlsMode.MUTUAL, credential_name="cert")


def test_a_sidecar_gets_a_named_credential_only_by_a_policy_that_chose_it() -> None:
    everybody = host_policy("p", WEB.host, policy=TrafficPolicy(tls=SECRET))
    assert not clusters(WEB, everybody)[NAME].HasField("transport_socket")
    chosen = structs.replace(everybody, selector={"app": "client"})
    found = clusters(WEB, chosen, labels={"app": "client"})[NAME]
    (name,) = mesh_tls(found).common_tls_context.tls_certificate_sds_secret_configs
    assert name.name == "kubernetes://cert"


def test_a_router_gets_a_named_credential() -> None:
    rule = host_policy("p", WEB.host, policy=TrafficPolicy(tls=SECRET))
    assert clusters(WEB, rule, type=ProxyType.ROUTER)[NAME].HasField("transport_socket")


def test_a_server_outside_is_verified_by_the_host_that_was_asked_for() -> None:
    found = clusters(WEB, policy(tls=ClientTls(mode=TlsMode.SIMPLE)))[NAME]
    upstream = options(found).upstream_http_protocol_options
    assert upstream.auto_sni
    assert upstream.auto_san_validation
    fields = found.metadata.filter_metadata["istio"].fields
    assert fields["alpn_override"].string_value == "false"


@pytest.mark.parametrize(
    ("resolution", "named", "verified"),
    [
        (Resolution.DYNAMIC_DNS, {}, True),
        (Resolution.DYNAMIC_DNS, {"subject_alt_names": ("proxy.example.com",)}, False),
        (Resolution.DYNAMIC_DNS, {"insecure_skip_verify": True}, False),
        (Resolution.ENDPOINTS, {}, False),
    ],
)
def test_an_sni_does_not_stand_for_the_name_of_any_host(
    resolution: Resolution, named: dict[str, object], verified: bool
) -> None:
    tls = ClientTls(mode=TlsMode.SIMPLE, sni="proxy.example.com", **named)  # type: ignore[arg-type]
    wild = service("wild", host="*.example.com", resolution=resolution)
    (found,) = (
        one
        for name, one in clusters(wild, policy(wild.host, tls=tls)).items()
        if name.endswith(wild.host)
    )
    upstream = options(found).upstream_http_protocol_options
    assert (upstream.auto_sni, upstream.auto_san_validation) == (False, verified)


def test_what_is_wrapped_in_proxy_protocol_is_still_encrypted() -> None:
    wrapped = policy(proxy_protocol="V2")
    found = clusters(WEB, endpoints(WEB, "10.0.0.1"), wrapped)[NAME]
    names = {match.transport_socket.name for match in found.transport_socket_matches}
    assert names == {"envoy.transport_sockets.upstream_proxy_protocol"}
    plain = clusters(structs.replace(WEB, external=True), wrapped)[NAME]
    assert plain.transport_socket.name == "envoy.transport_sockets.upstream_proxy_protocol"


def test_sessions_go_on_at_endpoints_that_drain_where_the_service_keeps_them() -> None:
    split = host_policy("p", WEB.host, subsets=(Subset("v1", {"version": "v1"}),))
    kept = structs.replace(WEB, labels={"istio.io/persistent-session": "c"})
    for name in (NAME, f"outbound|80|v1|{WEB.host}"):
        statuses = clusters(kept, split)[name].common_lb_config.override_host_status.statuses
        assert HealthStatus.DRAINING in statuses
        assert HealthStatus.HEALTHY in statuses, "who is well serves its sessions as well"
        without = clusters(WEB, split)[name].common_lb_config
        assert not without.HasField("override_host_status")
