import pytest

from tests.support.rulings import manifest, ruling


def of_entry(spec: str) -> list[str]:
    return ruling(manifest("WorkloadEntry", spec))


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("address: 1.2.3.4", "address: ''", "spec.address MissingField"),
        ("address: '::1'", "weight: 1", "spec.address MissingField"),
        ("address: a.b", "address: a_b", "spec.address InvalidAddress"),
        ("address: a", "address: '*.a'", "spec.address InvalidAddress"),
        ("address: unix:///run/it", "address: unix://run/it", "spec.address InvalidAddress"),
        ("address: unix://@it", "address: unix:///run/", "spec.address InvalidAddress"),
        ("address: unix:///a", "address: unix:///a\nports: {a: 1}", "spec.ports Conflicting"),
        ("address: a\nports: {a: 1}", "address: a\nports: {a: 0}", "spec.ports.a InvalidPort"),
        ("address: a\nports: {a: 1}", "address: a\nports: {a_b: 1}", "spec.ports.a_b InvalidName"),
        (
            f"address: a\nports: {{{'a' * 62}: 1}}",
            f"address: a\nports: {{{'a' * 63}: 1}}",
            f"spec.ports.{'a' * 63} InvalidName",
        ),
        ("address: a\nlabels: {a: b}", "address: a\nlabels: {a: '-'}", "spec.labels.a Invalid"),
        ("address: a\nweight: 1", "address: a\nweight: -1", "spec.weight OutOfRange"),
        ("address: a", f"address: a\nserviceAccount: {'a' * 254}", "spec.serviceAccount OutOf"),
        ("address: a", "network: net", "warning spec.address NoEffect"),
    ],
)
def test_workload_entries(good: str, bad: str, found: str) -> None:
    assert of_entry(good) == []
    (said,) = of_entry(bad)
    assert said.startswith(found)
