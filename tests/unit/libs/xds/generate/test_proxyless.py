"""What a gRPC program gets that speaks xDS itself."""

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.load_balancing_policies.wrr_locality.v3.wrr_locality_pb2 import WrrLocality
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from msgspec import Struct

from libs.model.service import Protocol, Resolution
from libs.model.sidecar import EgressListener, HostPattern, ListenerPort
from libs.model.traffic import (
    ClientTls,
    ConnectionPool,
    ConsistentHash,
    Cors,
    Destination,
    HttpMatch,
    HttpRoute,
    LoadBalancing,
    MatchKind,
    OutlierDetection,
    Simple,
    StringMatch,
    TlsMode,
    TrafficPolicy,
    WeightedDestination,
)
from libs.proxy.node import ProxyType
from libs.proxy.scoper import Scoper
from libs.xds import generate
from libs.xds.types import CLUSTER, EXTENSION, LISTENER, ROUTE, Snapshot
from tests.support.mesh import (
    endpoints,
    extension,
    host_policy,
    mesh,
    port,
    proxy,
    routing,
    service,
    sidecar,
)
from tests.support.patches import patch_set

WEB = service("web", port(80, Protocol.GRPC))
NAME = f"outbound|80||{WEB.host}"


def snapshot(*rows: Struct) -> Snapshot:
    now = mesh(WEB, endpoints(WEB, "10.0.0.1"), *rows)
    return generate.snapshot(Scoper().scope(now, proxy(type=ProxyType.PROXYLESS)))


def test_every_form_of_a_name_has_a_listener_that_leads_to_the_same_routes() -> None:
    found = snapshot(service("web", port(80, Protocol.GRPC), namespace="store"))
    names = {"web:80", "web.shop:80", "web.shop.svc:80", f"{WEB.host}:80", "web.store:80"}
    assert names <= found.of(LISTENER).resources.keys()
    for name in ("web:80", f"{WEB.host}:80"):
        listener = Listener.FromString(found.of(LISTENER).resources[name].body)
        assert NAME.encode() in listener.api_listener.api_listener.value
        assert not listener.filter_chains


def test_the_real_name_of_a_service_is_not_taken_by_a_short_one() -> None:
    external = service("x", port(80), host="web.shop", resolution=Resolution.ENDPOINTS)
    found = snapshot(external).of(LISTENER).resources["web.shop:80"]
    assert b'outbound|80||web.shop"' not in found.body
    assert found.sources == (external.ref,)


def test_only_what_grpc_knows_stands_in_its_resources() -> None:
    routes = HttpRoute(
        destinations=(WeightedDestination(Destination(WEB.host)),),
        cors=Cors(allow_methods=("GET",)),
    )
    found = snapshot(routing("r", WEB.host, http=(routes,)))
    config = RouteConfiguration.FromString(found.of(ROUTE).resources[NAME].body)
    (host,) = config.virtual_hosts
    assert host.domains == ["*"]
    assert [dict(route.typed_per_filter_config) for route in host.routes] == [{}]
    cluster = Cluster.FromString(found.of(CLUSTER).resources[NAME].body)
    assert cluster.lb_policy == Cluster.LbPolicy.ROUND_ROBIN
    assert not cluster.transport_socket_matches
    assert not cluster.HasField("transport_socket")
    assert set(found.of(CLUSTER).resources) == {NAME}


def test_mutual_tls_is_asked_for_by_policy_with_certificates_of_the_bootstrap() -> None:
    policy = TrafficPolicy(tls=ClientTls(mode=TlsMode.ISTIO_MUTUAL))
    found = snapshot(host_policy("p", WEB.host, policy=policy))
    cluster = Cluster.FromString(found.of(CLUSTER).resources[NAME].body)
    context = UpstreamTlsContext.FromString(cluster.transport_socket.typed_config.value)
    own = context.common_tls_context.tls_certificate_provider_instance
    before = context.common_tls_context.tls_certificate_certificate_provider_instance
    assert own.instance_name == before.instance_name == "default"


def cluster_under(policy: TrafficPolicy) -> Cluster:
    found = snapshot(host_policy("p", WEB.host, policy=policy))
    return Cluster.FromString(found.of(CLUSTER).resources[NAME].body)


def test_least_request_is_for_programs_that_know_it() -> None:
    found = cluster_under(TrafficPolicy(load_balancing=LoadBalancing(simple=Simple.LEAST_REQUEST)))
    assert found.lb_policy == Cluster.LbPolicy.ROUND_ROBIN  # what all of them know
    (by_locality,) = found.load_balancing_policy.policies
    config = by_locality.typed_extension_config.typed_config
    offered = WrrLocality.FromString(config.value).endpoint_picking_policy.policies
    assert [one.typed_extension_config.name for one in offered] == [
        "envoy.load_balancing_policies.least_request",
        "envoy.load_balancing_policies.round_robin",
    ]


def test_programs_take_turns_unless_a_policy_says_otherwise() -> None:
    for simple in set(Simple) - {Simple.LEAST_REQUEST}:
        found = cluster_under(TrafficPolicy(load_balancing=LoadBalancing(simple=simple)))
        assert found.type == Cluster.DiscoveryType.EDS
        assert found.lb_policy == Cluster.LbPolicy.ROUND_ROBIN
        assert not found.HasField("load_balancing_policy")


def test_hashes_lead_to_endpoints_on_a_ring_as_grpc_knows_no_other_way() -> None:
    for hashing in (
        ConsistentHash(header="x", ring_size=7),
        ConsistentHash(header="x", maglev=True, maglev_table=101),
    ):
        found = cluster_under(TrafficPolicy(load_balancing=LoadBalancing(consistent_hash=hashing)))
        assert found.lb_policy == Cluster.LbPolicy.RING_HASH
        assert found.ring_hash_lb_config.minimum_ring_size.value == (hashing.ring_size or 1024)
        assert not found.HasField("maglev_lb_config")


def test_a_limit_of_requests_holds_and_errors_that_grpc_does_not_count_are_left_out() -> None:
    found = cluster_under(
        TrafficPolicy(
            connection_pool=ConnectionPool(max_requests=9),
            outlier_detection=OutlierDetection(consecutive_5xx=3),
        )
    )
    (limits,) = found.circuit_breakers.thresholds
    assert limits.max_requests.value == 9
    assert not found.HasField("outlier_detection")


def test_a_timeout_stands_where_grpc_looks_for_it() -> None:
    there = (WeightedDestination(Destination(WEB.host)),)
    first = HttpRoute(
        matches=(HttpMatch(uri=StringMatch(MatchKind.PREFIX, "/slow")),),
        destinations=there,
        timeout=1500,
    )
    found = snapshot(routing("r", WEB.host, http=(first, HttpRoute(destinations=there))))
    config = RouteConfiguration.FromString(found.of(ROUTE).resources[NAME].body)
    slow, others = config.virtual_hosts[0].routes
    assert slow.route.max_stream_duration.max_stream_duration.ToMilliseconds() == 1500
    assert not others.route.HasField("max_stream_duration")


def test_what_a_sidecar_imports_for_a_port_is_dialled_at_that_port_alone() -> None:
    both = service("both", port(80, Protocol.GRPC), port(90, Protocol.GRPC))
    found = snapshot(
        both,
        sidecar(
            "s",
            egress=(
                EgressListener(
                    hosts=(HostPattern(namespace="*", host=both.host),),
                    port=ListenerPort(number=90, name="grpc", protocol=Protocol.GRPC),
                ),
                EgressListener(hosts=(HostPattern(namespace="*", host=WEB.host),)),
            ),
        ),
    )
    assert {"both:90", "web:80"} <= found.of(LISTENER).resources.keys()
    assert "both:80" not in found.of(LISTENER).resources
    assert f"outbound|80||{both.host}" not in found.of(ROUTE).resources


def test_of_names_that_dns_is_asked_for_the_first_is_called() -> None:
    outside = service("x", port(80), host="x.example.com", resolution=Resolution.DNS)
    found = snapshot(outside, endpoints(outside, "a.example.net", "b.example.net"))
    cluster = Cluster.FromString(found.of(CLUSTER).resources["outbound|80||x.example.com"].body)
    assert cluster.type == Cluster.DiscoveryType.LOGICAL_DNS
    (group,) = cluster.load_assignment.endpoints  # gRPC refuses more than one
    (endpoint,) = group.lb_endpoints
    assert endpoint.endpoint.address.socket_address.address == "a.example.net"


def proved_names(*rows: Struct, tls: ClientTls) -> list[str]:
    found = snapshot(host_policy("p", WEB.host, policy=TrafficPolicy(tls=tls)), *rows)
    cluster = Cluster.FromString(found.of(CLUSTER).resources[NAME].body)
    context = UpstreamTlsContext.FromString(cluster.transport_socket.typed_config.value)
    judged = context.common_tls_context.combined_validation_context.default_validation_context
    assert judged.ca_certificate_provider_instance.instance_name == "default"
    return [name.exact for name in judged.match_subject_alt_names]


def test_a_server_proves_an_account_of_the_service() -> None:
    pods = endpoints(WEB, "10.0.0.1", "10.0.0.2", service_account="web")
    assert proved_names(pods, tls=ClientTls(mode=TlsMode.ISTIO_MUTUAL)) == [
        "spiffe://cluster.local/ns/shop/sa/web"
    ]


def test_names_that_a_policy_wants_are_proved_instead() -> None:
    named = ("spiffe://other/ns/a/sa/b", "spiffe://other/ns/a/sa/c")
    tls = ClientTls(mode=TlsMode.ISTIO_MUTUAL, subject_alt_names=named)
    assert proved_names(endpoints(WEB, "10.0.0.1", service_account="web"), tls=tls) == list(named)


def test_patches_and_extensions_are_for_envoys() -> None:
    remove = patch_set("[{applyTo: CLUSTER, patch: {operation: REMOVE}}]")
    found = snapshot(remove, extension("e", lua="x"))
    assert NAME in found.of(CLUSTER).resources
    assert not found.of(EXTENSION).resources
