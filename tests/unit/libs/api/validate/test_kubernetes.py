"""Service, EndpointSlice and Pod: what an API server would have checked."""

import pytest

from tests.support.rulings import ruling


def of_service(spec: str) -> list[str]:
    return ruling(f"apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec: {spec}")


def of_slice(fields: str, labels: str = "{kubernetes.io/service-name: a}") -> list[str]:
    head = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n"
    return ruling(f"{head}metadata: {{name: a, labels: {labels}}}\n{fields}")


def of_pod(fields: str) -> list[str]:
    return ruling(f"apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\n{fields}")


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("{ports: [{port: 1}]}", "{}", "spec.ports MissingField"),
        ("{clusterIP: None}", "{clusterIP: none}", "spec.ports MissingField"),
        (
            "{ports: [{port: 1}], clusterIPs: [1.2.3.4, '::1']}",
            "{ports: [{port: 1}], clusterIPs: [1.2.3.4, '*']}",
            "spec.clusterIPs[1] InvalidAddress",
        ),
        (
            "{ports: [{port: 1, nodePort: 30000}]}",
            "{ports: [{port: 1, nodePort: 65536}]}",
            "spec.ports[0].nodePort InvalidPort",
        ),
        (
            "{ports: [{port: 1}], clusterIP: 1.2.3.4}",
            "{ports: [{port: 1}], clusterIP: a}",
            "spec.cluster",
        ),
        ("{ports: [{port: 65535}]}", "{ports: [{port: 65536}]}", "spec.ports[0].port InvalidPort"),
        (
            "{ports: [{port: 1, targetPort: a}]}",
            "{ports: [{port: 1, targetPort: a.b}]}",
            "spec.ports[0].t",
        ),
        (
            "{ports: [{port: 1, targetPort: 0}]}",
            "{ports: [{port: 1, targetPort: -1}]}",
            "spec.ports[0].t",
        ),
        (
            "{ports: [{port: 1, name: a}, {port: 2, name: b}]}",
            "{ports: [{port: 1, name: a}, {port: 2}]}",
            "spec.ports[1].name InvalidName",
        ),
        (
            "{ports: [{port: 1, name: a}, {port: 2, name: b}]}",
            "{ports: [{port: 1, name: a}, {port: 2, name: a}]}",
            "spec.ports[1].name DuplicatePort",
        ),
        (
            "{ports: [{port: 1, name: a}, {port: 1, name: b, protocol: UDP}]}",
            "{ports: [{port: 1, name: a}, {port: 1, name: b}]}",
            "spec.ports[1].port DuplicatePort",
        ),
        (
            "{type: ExternalName, externalName: a.b}",
            "{type: ExternalName}",
            "spec.externalName MissingField",
        ),
        (
            "{type: ExternalName, externalName: 1.2.3.4}",
            "{type: ExternalName, externalName: 'a b'}",
            "spec.externalName InvalidHost",
        ),
        (
            "{ports: [{port: 1}], selector: {a: b}}",
            "{ports: [{port: 1}], selector: {a: 'b c'}}",
            "spec.selector.a InvalidLabel",
        ),
    ],
)
def test_services(good: str, bad: str, found: str) -> None:
    assert of_service(good) == []
    assert of_service(bad)[0].startswith(found)


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("ports: [{port: 1}]", "ports: [{port: 0}]", "ports[0].port InvalidPort"),
        (
            "ports: [{name: a}, {name: b}]",
            "ports: [{name: a}, {name: a}]",
            "ports[1].name DuplicatePort",
        ),
        (
            "endpoints: [{addresses: [1.2.3.4]}]",
            "endpoints: [{addresses: [::1]}]",
            "endpoints[0].addresse",
        ),
        (
            "endpoints: [{addresses: [1.2.3.4]}]",
            "endpoints: [{}]",
            "endpoints[0].addresses MissingField",
        ),
    ],
)
def test_endpoint_slices(good: str, bad: str, found: str) -> None:
    assert of_slice(good) == []
    (error,) = of_slice(bad)
    assert error.startswith(found)


def test_a_slice_of_no_service_has_no_effect() -> None:
    assert of_slice("ports: []", "{}") == ["warning metadata.labels NoEffect"]


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        (
            "spec: {containers: [{ports: [{containerPort: 1}]}]}",
            "spec: {containers: [{ports: [{containerPort: 0}]}]}",
            "spec.containers[0].ports[0].containerPort InvalidPort",
        ),
        ("status: {podIP: 1.2.3.4}", "status: {podIP: a}", "status.podIP InvalidAddress"),
        (
            "status: {podIPs: [{ip: '::1'}]}",
            "status: {podIPs: [{}]}",
            "status.podIPs[0].ip InvalidAddr",
        ),
    ],
)
def test_pods(good: str, bad: str, found: str) -> None:
    assert of_pod(good) == []
    (error,) = of_pod(bad)
    assert error.startswith(found)
