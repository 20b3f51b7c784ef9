import pytest

from tests.support.rulings import manifest, ruling

PORT = "{number: 80, name: a, protocol: HTTP}"


def of_entry(spec: str, metadata: str = "") -> list[str]:
    return ruling(manifest("ServiceEntry", spec, metadata=metadata))


def resolved(resolution: str, fields: str = "", host: str = "a.b") -> list[str]:
    return of_entry(f"hosts: ['{host}']\nports: [{PORT}]\nresolution: {resolution}\n{fields}")


@pytest.mark.parametrize(
    ("resolution", "good", "bad", "found"),
    [
        ("NONE", "", "endpoints: [{address: 1.2.3.4}]", "spec.endpoints ConflictingFields"),
        (
            "NONE",
            "",
            "workloadSelector: {labels: {a: b}}",
            "warning spec.workloadSelector NoEffect",
        ),
        (
            "STATIC",
            "endpoints: [{address: 1.2.3.4, ports: {a: 81}}]",
            "endpoints: [{address: a.b}]",
            "spec.endpoints[0].address InvalidAddress",
        ),
        (
            "STATIC",
            "endpoints: [{address: unix:///a}]",
            "endpoints: [{address: unix://a}]",
            "spec.endpoints[0].address InvalidAddress",
        ),
        (
            "STATIC",
            "endpoints: [{address: 1.2.3.4}]",
            "endpoints: [{}]",
            "spec.endpoints[0].address MissingField",
        ),
        (
            "STATIC",
            "endpoints: [{address: 1.2.3.4}]",
            "endpoints: [{network: a}]",
            "warning spec.endpoints[0].address NoEffect",
        ),
        (
            "STATIC",
            "endpoints: [{address: unix:///a}]",
            "endpoints: [{address: unix:///a, ports: {a: 81}}]",
            "spec.endpoints[0].ports ConflictingFields",
        ),
        (
            "STATIC",
            "endpoints: [{address: 1.2.3.4, ports: {a: 81}}]",
            "endpoints: [{address: 1.2.3.4, ports: {b: 81}}]",
            "spec.endpoints[0].ports.b PortNotFound",
        ),
        (
            "DNS",
            "endpoints: [{address: c.d, ports: {a: 81}}, {address: 1.2.3.4}]",
            "endpoints: [{address: a_b}]",
            "spec.endpoints[0].address InvalidAddress",
        ),
        (
            "DNS",
            "endpoints: [{address: c.d}]",
            "endpoints: [{network: a}]",
            "spec.endpoints[0].address MissingField",
        ),
        (
            "DNS",
            "endpoints: [{address: c.d}]",
            "endpoints: [{address: c.d, ports: {b: 81}}]",
            "spec.endpoints[0].ports.b PortNotFound",
        ),
        (
            "DNS",
            "endpoints: [{address: c.d, labels: {a: b}}]",
            "endpoints: [{address: c.d, labels: {a: '*'}}]",
            "spec.endpoints[0].labels.a InvalidLabel",
        ),
        (
            "DNS_ROUND_ROBIN",
            "endpoints: [{address: c.d}]",
            "endpoints: [{address: c.d}, {address: e.f}]",
            "spec.endpoints ConflictingFields",
        ),
    ],
)
def test_what_a_resolution_needs(resolution: str, good: str, bad: str, found: str) -> None:
    assert resolved(resolution, good) == []
    assert resolved(resolution, bad) == [found]


def test_names_that_dns_is_asked_for_have_no_wildcards() -> None:
    assert resolved("DNS") == []
    assert resolved("DNS", host="*.a.b") == ["spec.hosts[0] InvalidHost"]
    assert resolved("DNS", "endpoints: [{address: c.d}]", host="*.a.b") == []


def test_dynamic_dns_is_for_wildcards() -> None:
    assert resolved("DYNAMIC_DNS", host="*.a.b") == []
    assert resolved("DYNAMIC_DNS") == ["spec.hosts[0] InvalidHost"]
    addresses = resolved("DYNAMIC_DNS", "addresses: [1.2.3.4]", host="*.a.b")
    assert addresses == ["spec.addresses ConflictingFields"]
    endpoints = resolved("DYNAMIC_DNS", "endpoints: [{address: c.d}]", host="*.a.b")
    assert endpoints == ["spec.endpoints ConflictingFields"]
    spec = "hosts: ['*.a.b']\nresolution: DYNAMIC_DNS\nports: [{number: 1, name: a, protocol: %s}]"
    assert of_entry(spec % "TLS") == []
    assert of_entry(spec % "TCP") == ["spec.ports[0].protocol InvalidProtocol"]


def test_dynamic_dns_of_the_mesh_has_no_waypoint() -> None:
    spec = "hosts: ['*.a.b']\nresolution: DYNAMIC_DNS\nlocation: MESH_INTERNAL"
    label = "labels: {istio.io/use-waypoint: %s}"
    assert of_entry(spec) == []
    assert of_entry(spec, label % "None") == []
    assert of_entry(spec, label % "it") == ["spec.location ConflictingFields"]


def test_a_socket_serves_one_port() -> None:
    spec = "hosts: [a.b]\nresolution: STATIC\nendpoints: [{address: unix:///a}]\nports: [%s]"
    assert of_entry(spec % PORT) == []
    both = f"{PORT}, {{number: 81, name: b, protocol: HTTP}}"
    assert of_entry(spec % both) == ["spec.endpoints[0].address ConflictingFields"]


def test_shared_addresses_of_several_hosts_are_warned_of() -> None:
    spec = "hosts: [a.b, c.d]\nresolution: DNS\naddresses: [1.2.3.4]\nports: [%s]"
    assert of_entry(spec % PORT) == []
    tls = "{number: 443, name: b, protocol: TLS}"
    assert of_entry(spec % tls) == ["warning spec.hosts NoEffect"]
