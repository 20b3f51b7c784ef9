import pytest

from tests.support.rulings import of_virtual_service

HTTP = "http: [{route: [{destination: {host: a}}]}]"


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        (f"hosts: [a]\n{HTTP}", "hosts: [a]", ["spec MissingField"]),
        (f"hosts: [a]\n{HTTP}", f"hosts: ['*']\n{HTTP}", ["spec.hosts[0] InvalidHost"]),
        (
            f"hosts: ['*']\ngateways: [edge]\n{HTTP}",
            f"hosts: ['*']\ngateways: [edge, mesh]\n{HTTP}",
            ["spec.hosts[0] InvalidHost"],
        ),
        (f"hosts: ['*.b']\n{HTTP}", f"hosts: ['a.*']\n{HTTP}", ["spec.hosts[0] InvalidHost"]),
        (f"hosts: [1.2.3.4]\n{HTTP}", f"hosts: [a.3]\n{HTTP}", ["spec.hosts[0] InvalidHost"]),
        (f"hosts: [a, b]\n{HTTP}", f"hosts: [a, a]\n{HTTP}", ["spec.hosts[1] DuplicateHost"]),
        (
            f"hosts: [a.b, '*.a.b']\n{HTTP}",
            f"hosts: [a.b, '*.b']\n{HTTP}",
            ["spec.hosts[0] DuplicateHost"],
        ),
        (HTTP, f"{HTTP}\ngateways: [mesh]", ["spec.gateways ConflictingFields"]),
        (
            HTTP,
            f"{HTTP}\ntcp: [{{route: [{{destination: {{host: a}}}}]}}]",
            ["spec.tcp ConflictingFields"],
        ),
    ],
)
def test_virtual_services(good: str, bad: str, found: list[str]) -> None:
    assert of_virtual_service(good) == []
    assert of_virtual_service(bad) == found
