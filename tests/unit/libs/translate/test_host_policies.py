from libs.model.traffic import (
    ClientTls,
    ConnectionPool,
    ConsistentHash,
    HostPolicy,
    Keepalive,
    LoadBalancing,
    LocalityBalancing,
    LocalityFailover,
    LocalityWeights,
    OutlierDetection,
    Simple,
    Subset,
    TlsMode,
    TrafficPolicy,
    Warmup,
)
from tests.support.resources import mesh_of

HEADER = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec:
  host: reviews
"""


def host_policy(spec: str) -> HostPolicy:
    (found,) = mesh_of(HEADER + spec).host_policies.values()
    return found


def policy(text: str) -> TrafficPolicy:
    found = host_policy(f"  trafficPolicy:\n    {text}\n").policy
    assert found is not None
    return found


def test_subsets_and_selectors() -> None:
    found = host_policy("""
  exportTo: ["."]
  workloadSelector: {matchLabels: {app: front}}
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
""")
    assert found.ref == "DestinationRule/shop/reviews"
    assert found.host == "reviews.shop.svc.cluster.local"
    assert found.export_to == (".",)
    assert found.selector == {"app": "front"}
    assert found.policy is None
    assert found.subsets == (
        Subset("v1", {"version": "v1"}),
        Subset(
            "v2",
            {"version": "v2"},
            TrafficPolicy(load_balancing=LoadBalancing(simple=Simple.RANDOM)),
        ),
    )


def test_the_old_name_of_least_request() -> None:
    assert policy("loadBalancer: {simple: LEAST_CONN}") == TrafficPolicy(
        load_balancing=LoadBalancing(simple=Simple.LEAST_REQUEST)
    )


def test_consistent_hashing_and_localities() -> None:
    assert policy("""
    loadBalancer:
      consistentHash:
        httpCookie: {name: c, path: /, ttl: 0s, attributes: [{name: SameSite, value: Lax}]}
        ringHash: {minimumRingSize: 64}
      localityLbSetting:
        enabled: true
        distribute: [{from: r/z/*, to: {r/z/*: 80, r/y/*: 20}}]
        failover: [{from: r, to: s}]
        failoverPriority: [topology.kubernetes.io/region]
      warmup: {duration: 30s, minimumPercent: 5, aggression: 1.5}
""").load_balancing == LoadBalancing(
        consistent_hash=ConsistentHash(
            cookie="c",
            cookie_path="/",
            cookie_ttl=0,
            cookie_attributes={"SameSite": "Lax"},
            ring_size=64,
        ),
        locality=LocalityBalancing(
            enabled=True,
            distribute=(LocalityWeights("r/z/*", {"r/z/*": 80, "r/y/*": 20}),),
            failover=(LocalityFailover("r", "s"),),
            failover_priority=("topology.kubernetes.io/region",),
        ),
        warmup=Warmup(duration=30_000, minimum_percent=5.0, aggression=1.5),
    )


def test_what_is_not_set_stays_open() -> None:
    assert policy("connectionPool: {tcp: {maxConnections: 0}}").connection_pool == ConnectionPool()
    assert policy("outlierDetection: {}").outlier_detection == OutlierDetection()


def test_connections_and_outliers() -> None:
    found = policy("""
    connectionPool:
      tcp:
        maxConnections: 10
        connectTimeout: 50ms
        tcpKeepalive: {probes: 3, time: 7200s}
        idleTimeout: 1h
      http: {http1MaxPendingRequests: 5, http2MaxRequests: 6, h2UpgradePolicy: UPGRADE}
    outlierDetection:
      consecutive5xxErrors: 0
      consecutiveGatewayErrors: 2
      interval: 5s
      maxEjectionPercent: 50
""")
    assert found.connection_pool == ConnectionPool(
        max_connections=10,
        connect_timeout=50,
        keepalive=Keepalive(3, 7_200_000),
        tcp_idle_timeout=3_600_000,
        max_pending_requests=5,
        max_requests=6,
        h2_upgrade="UPGRADE",
    )
    assert found.outlier_detection == OutlierDetection(
        consecutive_5xx=0,
        consecutive_gateway_errors=2,
        interval=5000,
        max_ejection_percent=50,
    )


def test_a_port_has_a_policy_of_its_own() -> None:
    found = policy("""
    tls: {mode: ISTIO_MUTUAL}
    portLevelSettings:
    - port: {number: 443}
      tls: {mode: SIMPLE, sni: x, caCertificates: /ca.pem, subjectAltNames: [z]}
""")
    assert found.tls == ClientTls(mode=TlsMode.ISTIO_MUTUAL)
    assert found.ports == {
        443: TrafficPolicy(
            tls=ClientTls(
                mode=TlsMode.SIMPLE, sni="x", ca_certificates="/ca.pem", subject_alt_names=("z",)
            )
        )
    }
