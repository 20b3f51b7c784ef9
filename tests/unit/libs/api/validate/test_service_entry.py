import pytest

from tests.support.rulings import manifest, ruling

HTTP = "ports: [{number: 80, name: a, protocol: HTTP}]"


def of_entry(spec: str, metadata: str = "") -> list[str]:
    return ruling(manifest("ServiceEntry", spec, metadata=metadata))


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("hosts: [a.b]", "hosts: []", "spec.hosts OutOfRange"),
        ("hosts: [a]", "hosts: ['*']", "spec.hosts[0] InvalidHost"),
        ("hosts: ['*.a.b']", "hosts: [1.2.3.4]", "spec.hosts[0] InvalidHost"),
        ("hosts: ['*.a.b']", "hosts: ['*a.b']", "warning spec.hosts[0] NoEffect"),
        (
            "hosts: [a.b]\naddresses: [1.2.3.4, 10.0.0.0/8, '::1']",
            "hosts: [a.b]\naddresses: [a]",
            "spec.addresses[0] InvalidAddress",
        ),
        (
            "hosts: [a.b]\nresolution: STATIC\naddresses: [10.0.0.0/8]",
            "hosts: [a.b]\nresolution: DNS\naddresses: [10.0.0.0/8]",
            "spec.addresses[0] ConflictingFields",
        ),
        (
            "hosts: [a.b]\nworkloadSelector: {labels: {a: b}}\nresolution: STATIC",
            "hosts: [a.b]\nworkloadSelector: {labels: {a: '*'}}\nresolution: STATIC",
            "spec.workloadSelector.labels.a InvalidLabel",
        ),
        (
            "hosts: [a.b]\nworkloadSelector: {labels: {a: b}}\nresolution: STATIC",
            "hosts: [a.b]\nworkloadSelector: {}\nresolution: STATIC",
            "warning spec.workloadSelector.labels EmptySelector",
        ),
        (
            "hosts: [a.b]\nworkloadSelector: {labels: {a: b}}\nresolution: STATIC",
            "hosts: [a.b]\nworkloadSelector: {labels: {a: b}}\nresolution: STATIC\nendpoints: []",
            "spec ConflictingFields",
        ),
        ("hosts: [a.b]\nexportTo: ['~']", "hosts: [a.b]\nexportTo: ['~', a]", "spec.exportTo Inv"),
        ("hosts: [a.b]\nexportTo: [a]", "hosts: [a.b]\nexportTo: [A_b]", "spec.exportTo[0] Inv"),
        (
            f"hosts: [a.b, c.d]\nresolution: STATIC\n{HTTP}",
            "hosts: [a.b, c.d]\nresolution: STATIC\nports: [{number: 80, name: a, protocol: TCP}]",
            "spec.ports[0].protocol ConflictingFields",
        ),
        (
            "hosts: [a.b]\nlocation: MESH_INTERNAL",
            "hosts: [a.b]\nlocation: MESH",
            "spec.location I",
        ),
    ],
)
def test_service_entries(good: str, bad: str, found: str) -> None:
    assert of_entry(good) == []
    (said,) = of_entry(bad)
    assert said.startswith(found)


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        ("{number: 0, name: a}", "number InvalidPort"),
        ("{number: 80, name: a_b}", "name InvalidName"),
        ("{number: 80, name: ''}", "name InvalidName"),
        ("{number: 80, name: a, protocol: X}", "protocol InvalidProtocol"),
        ("{number: 80, name: a, targetPort: 0}", "targetPort InvalidPort"),
        ("{number: 80}", "name MissingField"),
    ],
)
def test_ports(bad: str, found: str) -> None:
    spec = "hosts: [a.b]\nresolution: DNS\nports: [%s]"
    assert of_entry(spec % "{number: 80, name: a, targetPort: 81}") == []
    assert of_entry(spec % bad) == [f"spec.ports[0].{found}"]


def test_ports_are_there_once() -> None:
    spec = "hosts: [a.b]\nresolution: DNS\n"
    spec += "ports: [{number: 80, name: a}, {number: %s, name: %s}]"
    assert of_entry(spec % (81, "b")) == []
    assert of_entry(spec % (80, "b")) == ["spec.ports[1].number DuplicatePort"]
    assert of_entry(spec % (81, "a")) == ["spec.ports[1].name DuplicatePort"]


def test_tcp_without_an_address_of_its_own_is_warned_of() -> None:
    spec = "hosts: [a.b]\nresolution: DNS\nports: [{number: 80, name: a, protocol: TCP}]"
    label = "labels: {networking.istio.io/enable-autoallocate-ip: 'False'}"
    assert of_entry(spec) == []
    assert of_entry(spec, label) == ["warning spec.ports[0].protocol AddressesRequired"]
    assert of_entry(f"{spec}\naddresses: [1.2.3.4]", label) == []
    unresolved = spec.replace("DNS", "NONE")
    assert of_entry(unresolved) == ["warning spec.ports[0].protocol AddressesRequired"]
    assert of_entry(unresolved.replace("TCP", "TLS")) == []
