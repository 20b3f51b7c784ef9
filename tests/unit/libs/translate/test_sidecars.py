from libs.model.service import Protocol
from libs.model.sidecar import HostPattern, ListenerPort, Sidecar
from libs.model.traffic import Destination
from tests.support.resources import mesh_of, translated

HEADER = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s, namespace: shop, creationTimestamp: "1970-01-01T00:00:05Z"}
spec:
"""
TLS = """
  ingress:
  - port: {number: 8443, protocol: HTTPS, name: https}
    defaultEndpoint: 127.0.0.1:8080
    tls: {mode: SIMPLE, serverCertificate: /c, privateKey: /k}
"""


def only(spec: str) -> Sidecar:
    (row,) = mesh_of(HEADER + spec).sidecars.values()
    return row


def test_every_field() -> None:
    row = only("""
  workloadSelector: {labels: {app: x}}
  egress:
  - hosts: ["./A.example.com", "~far/*", "~/secret.example.com"]
    port: {number: 80, protocol: http, name: web}
    bind: 127.0.0.1
    captureMode: NONE
  - hosts: ["*/*"]
    port: {number: 3128, protocol: HTTP_PROXY, name: proxy}
  ingress:
  - port: {number: 80, protocol: GRPC, name: grpc}
    defaultEndpoint: unix:///s
    connectionPool: {tcp: {maxConnections: 2}}
  inboundConnectionPool: {tcp: {maxConnections: 1}}
  outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: out, port: {number: 81}}}
""")
    assert (row.ref, row.namespace, row.name, row.created) == ("Sidecar/shop/s", "shop", "s", 5)
    assert row.selector == {"app": "x"}
    web, proxy = row.egress
    assert web.hosts == (
        HostPattern(".", "a.example.com"),
        HostPattern("far", "*", excluded=True),
        HostPattern("*", "secret.example.com", excluded=True),
    )
    assert web.port == ListenerPort(80, Protocol.HTTP, "web")
    assert (web.bind, web.bound, web.http_proxy) == ("127.0.0.1", True, False)
    assert (proxy.bound, proxy.http_proxy) == (False, True)
    (grpc,) = row.ingress
    assert (grpc.port.protocol, grpc.default_endpoint) == (Protocol.GRPC, "unix:///s")
    assert grpc.pool is not None
    assert grpc.pool.max_connections == 2
    assert row.inbound_pool is not None
    assert row.inbound_pool.max_connections == 1
    assert row.allow_any is True
    assert row.egress_proxy == Destination("out.shop.svc.cluster.local", port=81)


def test_a_policy_without_a_mode_refuses_what_nobody_declared() -> None:
    assert only("  outboundTrafficPolicy: {}").allow_any is False
    assert only('  egress: [{hosts: ["./*"]}]').allow_any is None


def test_tls_in_vain_until_mutual_tls_is_switched_off() -> None:
    step = translated(HEADER + TLS)
    assert [(it.path, it.reason) for it in step.problems] == [("spec.ingress[0].tls", "NoEffect")]
    peer = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: p, namespace: shop}
spec:
  selector: {matchLabels: {app: x}}
  portLevelMtls: {8443: {mode: DISABLE}}
"""
    assert translated(peer, step.state).problems == ()
    (row,) = step.state.mesh.sidecars.values()
    assert row.ingress[0].tls is not None
    assert row.ingress[0].tls.files[0].certificate == "/c"


def test_secrets_are_for_gateways() -> None:
    text = TLS.replace("serverCertificate: /c, privateKey: /k", "credentialName: c")
    found = {it.path for it in translated(HEADER + text).problems}
    assert "spec.ingress[0].tls.credentialName" in found
