import pytest

from libs.model.ids import Ref
from libs.model.mesh import Mesh
from libs.model.service import Protocol, Resolution, Service, ServicePort
from libs.translate.apply import Remove, apply
from libs.translate.auto_addresses import Claim
from libs.translate.state import State
from tests.support.resources import mesh_of, translated


def entry(name: str, *, created: int = 0, labels: str = "{}", spec: str) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: {name}
  namespace: shop
  labels: {labels}
  creationTimestamp: "1970-01-01T00:00:{created:02}Z"
spec: {spec}
"""


def by_host(mesh: Mesh) -> dict[str, Service]:
    return {service.host: service for service in mesh.services.values()}


def test_every_host_is_a_service_with_all_that_the_entry_says() -> None:
    spec = """
  hosts: [a.example.com, B.example.com]
  addresses: [10.0.0.1, 10.1.0.0/16]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: http, targetPort: 8080}, {number: 9, name: x}]
  exportTo: [".", other]
  subjectAltNames: [b, a]
  workloadSelector: {labels: {app: x}}
"""
    found = by_host(mesh_of(entry("e", created=5, labels="{l: m}", spec=spec)))
    assert set(found) == {"a.example.com", "b.example.com"}
    service = found["b.example.com"]
    assert service.key == "shop/b.example.com/e"
    assert service.ref == "ServiceEntry/shop/e"
    assert service.created == 5
    assert service.ports == (
        ServicePort(80, "http", Protocol.HTTP, 8080),
        ServicePort(9, "x", Protocol.AUTO),
    )
    assert service.addresses == ("10.0.0.1", "10.1.0.0/16")
    assert service.auto_addresses == ()
    assert service.resolution is Resolution.ENDPOINTS
    assert not service.external
    assert service.registry == "External"
    assert service.export_to == (".", "other")
    assert service.subject_alt_names == ("a", "b")
    assert service.selector == {"app": "x"}
    assert service.labels == {"l": "m"}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("NONE", Resolution.ORIGINAL),
        ("STATIC", Resolution.ENDPOINTS),
        ("DNS", Resolution.DNS),
        ("DNS_ROUND_ROBIN", Resolution.DNS_ROUND_ROBIN),
        ("DYNAMIC_DNS", Resolution.DYNAMIC_DNS),
    ],
)
def test_resolutions(written: str, expected: Resolution) -> None:
    spec = f"{{hosts: [a.b], resolution: {written}, ports: [{{number: 80, name: http}}]}}"
    (service,) = mesh_of(entry("e", spec=spec)).services.values()
    assert service.resolution is expected
    assert service.external


def test_a_host_that_dns_resolves_is_its_own_endpoint() -> None:
    spec = "{hosts: [a.b], resolution: DNS, ports: [{number: 80, name: http, targetPort: 81}]}"
    (row,) = mesh_of(entry("e", spec=spec)).endpoints.values()
    (endpoint,) = row.endpoints
    assert (endpoint.address, endpoint.port, endpoint.port_name) == ("a.b", 81, "http")
    assert not endpoint.mtls


def test_written_endpoints() -> None:
    spec = """
  hosts: [a.b]
  resolution: STATIC
  ports: [{number: 80, name: http, targetPort: 81}]
  endpoints:
  - {address: 10.0.0.1, serviceAccount: sa, weight: 3, locality: r/z/s, network: net}
  - {address: 10.0.0.2, ports: {http: 82}, labels: {security.istio.io/tlsMode: istio}}
  - {address: 10.0.0.3, serviceAccount: sa, labels: {security.istio.io/tlsMode: disabled}}
  - {address: "unix:///a.sock"}
  - {network: elsewhere}
"""
    (row,) = mesh_of(entry("e", spec=spec)).endpoints.values()
    nowhere, first, second, third, socket = row.endpoints
    assert (first.port, first.weight, first.service_account, first.mtls) == (81, 3, "sa", True)
    assert (first.locality.region, first.locality.subzone, first.network) == ("r", "s", "net")
    assert (second.port, second.weight, second.mtls) == (82, 1, True)
    assert not third.mtls
    assert (socket.address, socket.port) == ("unix:///a.sock", 0)
    assert (nowhere.address, nowhere.network) == ("", "elsewhere")


SELECTING = """
  hosts: [a.b]
  resolution: STATIC
  location: MESH_INTERNAL
  ports: [{number: 80, name: http, targetPort: 81}]
  workloadSelector: {labels: {app: x, tier: web}}
"""


def pod(name: str, labels: str, ready: str = "True", address: str = "10.0.0.1") -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {labels}}}
spec: {{serviceAccountName: sa}}
status: {{podIP: {address}, conditions: [{{type: Ready, status: "{ready}"}}]}}
"""


def machine(name: str, labels: str = "{app: x, tier: web}", ports: str = "{}") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {name}, namespace: shop}}
spec: {{address: 10.0.0.9, labels: {labels}, ports: {ports}, serviceAccount: vm, weight: 2}}
"""


def test_pods_and_machines_are_selected_by_labels_as_they_come_and_go() -> None:
    state: State = translated(entry("e", spec=SELECTING)).state
    everything = "\n---\n".join(
        [
            pod("same", "{app: x, tier: web}"),
            pod("other", "{app: x}", address="10.0.0.2"),
            pod("unready", "{app: x, tier: web}", "False", "10.0.0.3"),
            machine("same", ports="{http: 82}"),
        ]
    )
    state = translated(everything, state).state
    (row,) = state.mesh.endpoints.values()
    assert [(it.address, it.port, it.workload) for it in row.endpoints] == [
        ("10.0.0.1", 81, "shop/same"),
        ("10.0.0.9", 82, "shop/entry/same"),
    ]
    assert row.endpoints[1].weight == 2
    assert row.endpoints[1].mtls
    state = translated(machine("same", labels="{app: x}"), state).state
    (row,) = state.mesh.endpoints.values()
    assert [it.address for it in row.endpoints] == ["10.0.0.1"]


def test_a_machine_joins_a_service_of_kubernetes_by_its_selector() -> None:
    service = """
apiVersion: v1
kind: Service
metadata: {name: s, namespace: shop}
spec:
  clusterIP: 10.1.0.1
  selector: {app: x}
  ports: [{name: http, port: 80, targetPort: web}, {name: tcp, port: 81}, {name: late, port: 82}]
"""
    mesh = mesh_of(service + "---" + machine("m", ports="{web: 8080, late: 9}"))
    (row,) = mesh.endpoints.values()
    ports = {it.port_name: it.port for it in row.endpoints}
    assert ports == {"http": 8080, "tcp": 81, "late": 9}


DNS = "{{hosts: [{}], resolution: DNS, ports: [{{number: 80, name: http}}]}}"


def auto(text: str) -> dict[str, tuple[str, ...]]:
    return {host: row.auto_addresses for host, row in by_host(mesh_of(text)).items()}


def test_automatic_addresses_are_of_both_families_and_always_the_same() -> None:
    one = auto(entry("e", spec=DNS.format("a.b, c.d")))
    assert one["a.b"] != one["c.d"]
    four, six = one["a.b"]
    assert four.startswith("240.240.")
    assert six.startswith("2001:2::")
    both = entry("other", spec=DNS.format("x.y")) + "---" + entry("e", spec=DNS.format("a.b, c.d"))
    assert auto(both).items() >= one.items()


@pytest.mark.parametrize(
    ("spec", "labels"),
    [
        ("{hosts: [a.b], resolution: NONE, ports: [{number: 80, name: http}]}", "{}"),
        ("{hosts: [a.b], resolution: DNS, addresses: [10.0.0.1]}", "{}"),
        ("{hosts: ['*.b'], resolution: DYNAMIC_DNS}", "{}"),
        (DNS.format("a.b"), "{networking.istio.io/enable-autoallocate-ip: 'false'}"),
    ],
)
def test_who_gets_no_automatic_address(spec: str, labels: str) -> None:
    assert set(auto(entry("e", spec=spec, labels=labels)).values()) == {()}


def colliding() -> tuple[str, str]:
    """Return two names whose hosts would like the same number."""
    seen: dict[int, str] = {}
    for index in range(5000):
        name = f"e{index}"
        wanted = Claim(0, "shop", name, "a.b").choices()[0]
        if wanted in seen:
            return seen[wanted], name
        seen[wanted] = name
    raise AssertionError


def test_of_two_that_want_one_address_the_older_keeps_it() -> None:
    first, second = colliding()
    alone = auto(entry(first, spec=DNS.format("a.b")))["a.b"]
    texts = [
        entry(first, created=1, spec=DNS.format("a.b")),
        entry(second, created=2, spec=DNS.format("a.b"), labels="{not: merged}"),
    ]
    state = translated(texts[1]).state
    together = translated(texts[0], state).state.mesh.services
    assert together[f"shop/a.b/{first}"].auto_addresses == alone
    assert together[f"shop/a.b/{second}"].auto_addresses not in {(), alone}
    assert translated("---".join(texts)).state.mesh.services == together


def test_entries_that_agree_are_one_service_of_the_oldest_whichever_comes_first() -> None:
    old = entry("old", created=1, spec=DNS.format("a.b"))
    new = entry("new", created=2, spec=DNS.format("a.b").replace("80", "81"))
    alone = translated(new).state
    step = translated(old, alone)
    together = step.state.mesh
    assert translated("---".join([new, old])).state.mesh.tables == together.tables
    (service,) = together.services.values()
    assert service.ref == "ServiceEntry/shop/old"
    assert sorted(port.number for port in service.ports) == [80, 81]
    (rest,) = apply(
        step.state, [Remove(Ref("ServiceEntry/shop/old"), 3.0)]
    ).state.mesh.services.values()
    assert rest.ref == "ServiceEntry/shop/new"


def test_an_older_owner_of_a_host_in_the_namespace_is_named() -> None:
    texts = [
        entry("new", created=2, spec=DNS.format("a.b, c.d"), labels="{not: merged}"),
        entry("old", created=1, spec=DNS.format("a.b")),
    ]
    problems = translated("---".join(texts)).problems
    assert [(it.ref, it.path, it.reason) for it in problems] == [
        ("ServiceEntry/shop/new", "spec.hosts[0]", "ConflictingHost")
    ]


def test_machines_without_an_address_and_addresses_of_groups_are_said_to_be_in_vain() -> None:
    text = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: m, namespace: shop}
spec: {network: net}
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: g, namespace: shop}
spec: {template: {address: 10.0.0.1}, probe: {tcpSocket: {port: 1}}}
"""
    paths = {(it.ref, it.path) for it in translated(text).problems}
    assert paths == {
        ("WorkloadEntry/shop/m", "spec.address"),
        ("WorkloadGroup/shop/g", "spec.template.address"),
    }


def test_a_machine_with_a_name_is_nothing_to_services_that_have_addresses() -> None:
    named = machine("m", labels="{app: x, tier: web}").replace("10.0.0.9", "vm.example.com")
    static = translated(entry("e", spec=SELECTING) + "---" + named)
    assert [(it.ref, it.path, it.reason) for it in static.problems] == [
        ("WorkloadEntry/shop/m", "spec.address", "NoEffect")
    ]
    resolved = entry("e", spec=SELECTING.replace("STATIC", "DNS"))
    assert translated(resolved + "---" + named).problems == ()
