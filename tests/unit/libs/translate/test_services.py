from libs.model.mesh import Mesh
from libs.model.service import Protocol, Resolution, Service, ServicePort
from tests.support.resources import mesh_of


def only(mesh: Mesh) -> Service:
    (service,) = mesh.services.values()
    return service


def test_a_cluster_ip_service() -> None:
    service = only(
        mesh_of("""
            apiVersion: v1
            kind: Service
            metadata:
              name: reviews
              namespace: shop
              creationTimestamp: 1970-01-01T00:01:00Z
              labels: {app: reviews}
              annotations:
                networking.istio.io/exportTo: "., other"
                alpha.istio.io/kubernetes-serviceaccounts: old
                alpha.istio.io/canonical-serviceaccounts: spiffe://vm/ns/x/sa/y
            spec:
              clusterIP: 10.0.0.1
              clusterIPs: [10.0.0.1, "fd00::1"]
              selector: {app: reviews}
              internalTrafficPolicy: Local
              trafficDistribution: PreferClose
              publishNotReadyAddresses: true
              ports:
                - {name: http, port: 80, targetPort: web}
                - {name: grpc, port: 81, targetPort: 9000}
                - {name: tcp, port: 82}
        """)
    )
    assert service.key == "shop/reviews.shop.svc.cluster.local"
    assert service.ref == "Service/shop/reviews"
    assert service.host == "reviews.shop.svc.cluster.local"
    assert service.created == 60
    assert service.ports == (
        ServicePort(80, "http", Protocol.HTTP, "web"),
        ServicePort(81, "grpc", Protocol.GRPC, 9000),
        ServicePort(82, "tcp", Protocol.TCP, 0),
    )
    assert service.addresses == ("10.0.0.1", "fd00::1")
    assert service.resolution is Resolution.ENDPOINTS
    assert service.export_to == (".", "other")
    assert service.subject_alt_names == (
        "spiffe://cluster.local/ns/shop/sa/old",
        "spiffe://vm/ns/x/sa/y",
    )
    assert service.node_local
    assert service.publish_not_ready
    assert service.traffic_distribution == "PreferClose"
    assert service.selector == service.labels == {"app": "reviews"}


def test_udp_ports_are_nothing_to_a_mesh() -> None:
    service = only(
        mesh_of("""
            apiVersion: v1
            kind: Service
            metadata: {name: dns, namespace: kube-system}
            spec:
              ports:
                - {name: dns, port: 53, protocol: UDP}
                - {name: dns-tcp, port: 53, protocol: TCP}
        """)
    )
    assert [(port.number, port.name) for port in service.ports] == [(53, "dns-tcp")]
    assert service.ports[0].protocol is Protocol.TCP


def test_a_headless_service_has_no_address_of_its_own() -> None:
    service = only(
        mesh_of("""
            apiVersion: v1
            kind: Service
            metadata: {name: db, namespace: shop}
            spec: {clusterIP: None, ports: [{port: 5432}]}
        """)
    )
    assert service.resolution is Resolution.ORIGINAL
    assert service.addresses == ()


def test_an_external_name_is_an_alias() -> None:
    service = only(
        mesh_of("""
            apiVersion: v1
            kind: Service
            metadata: {name: old, namespace: shop}
            spec:
              type: ExternalName
              externalName: Reviews.shop.svc.cluster.local.
              ports: [{port: 80}]
        """)
    )
    assert service.resolution is Resolution.ALIAS
    assert service.alias_of == "reviews.shop.svc.cluster.local"
    assert service.addresses == ()


def test_without_a_cluster_ip_a_service_in_a_file_is_not_headless() -> None:
    service = only(
        mesh_of("""
            apiVersion: v1
            kind: Service
            metadata: {name: web}
            spec: {ports: [{port: 80}]}
        """)
    )
    assert service.resolution is Resolution.ENDPOINTS
    assert service.key == "default/web.default.svc.cluster.local"
