import pytest

from tests.support.rulings import manifest, ruling


def of_group(spec: str) -> list[str]:
    return ruling(manifest("WorkloadGroup", spec))


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("template: {}", "metadata: {}", "spec.template MissingField"),
        (
            "template: {ports: {a: 1}}",
            "template: {ports: {a: 65536}}",
            "spec.template.ports.a InvalidPort",
        ),
        (
            "template: {address: unix:///a}",
            "template: {address: unix://a}",
            "spec.template.address InvalidAddress",
        ),
        (
            "template: {}\nmetadata: {labels: {a: b}}",
            "template: {}\nmetadata: {labels: {a: 'b c'}}",
            "spec.metadata.labels.a InvalidLabel",
        ),
    ],
)
def test_workload_groups(good: str, bad: str, found: str) -> None:
    assert of_group(good) == []
    assert of_group(bad) == [found]


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("grpc: {port: 1}", "", " InvalidProbe"),
        ("grpc: {}", "grpc: {port: 0}", ".grpc.port InvalidPort"),
        ("tcpSocket: {port: 1}", "tcpSocket: {port: 1}, grpc: {}", " InvalidProbe"),
        ("tcpSocket: {port: 1}", "tcpSocket: {port: 0}", ".tcpSocket.port InvalidPort"),
        ("httpGet: {port: 1}", "httpGet: {}", ".httpGet.port MissingField"),
        (
            "httpGet: {port: 1, scheme: HTTPS}",
            "httpGet: {port: 1, scheme: https}",
            ".httpGet.scheme InvalidChoice",
        ),
        (
            "httpGet: {port: 1, httpHeaders: [{name: X-A}]}",
            "httpGet: {port: 1, httpHeaders: [{name: 'X A'}]}",
            ".httpGet.httpHeaders[0].name InvalidHeader",
        ),
        ("exec: {command: [a]}", "exec: {command: []}", ".exec.command EmptyValue"),
        (
            "exec: {command: [a]}, periodSeconds: 0",
            "exec: {command: [a]}, periodSeconds: -1",
            ".periodSeconds OutOfRange",
        ),
    ],
)
def test_probes(good: str, bad: str, found: str) -> None:
    probe = "template: {}\nprobe: {%s}"
    assert of_group(probe % good) == []
    assert of_group(probe % bad) == [f"spec.probe{found}"]
