from textwrap import indent

import pytest

from libs.api.check import check
from libs.api.ingress import Ingress, IngressClass

BACKEND = "backend: {service: {name: a, port: {number: 80}}}"


def found(spec: str, annotations: str = "{}") -> list[str]:
    text = (
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\n"
        f"metadata: {{name: it, annotations: {annotations}}}\nspec:\n{indent(spec, '  ')}\n"
    )
    (finding,) = check(text, "f")
    assert isinstance(finding.resource, Ingress) or finding.errors
    problems = [*finding.errors, *finding.warnings]
    return [f"{problem.severity} {problem.path} {problem.reason}" for problem in problems]


def of_path(fields: str) -> list[str]:
    spec = f"rules: [{{http: {{paths: [{{{fields}}}]}}}}]"
    return [line.replace("spec.rules[0].http.paths[0].", "") for line in found(spec)]


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        (f"path: /a, pathType: Exact, {BACKEND}", f"path: a, pathType: Prefix, {BACKEND}", "path "),
        (
            f"path: /a, pathType: Exact, {BACKEND}",
            f"path: /a?b, pathType: Exact, {BACKEND}",
            "path ",
        ),
        (f"path: '*', {BACKEND}", "path: /a, backend: {}", "backend ConflictingFields"),
        (
            "backend: {resource: {kind: A, name: b}}",
            "backend: {resource: {kind: A, name: b}, service: {name: a, port: {number: 1}}}",
            "backend ConflictingFields",
        ),
        (
            "backend: {service: {name: a, port: {name: http}}}",
            "backend: {service: {name: a, port: {name: http, number: 80}}}",
            "backend.service.port ConflictingFields",
        ),
        (
            "backend: {service: {name: a, port: {number: 80}}}",
            "backend: {service: {name: a, port: {number: 65536}}}",
            "backend.service.port.number InvalidPort",
        ),
    ],
)
def test_paths(good: str, bad: str, said: str) -> None:
    assert of_path(good) == []
    (line,) = of_path(bad)
    assert line.startswith(f"error {said}")


@pytest.mark.parametrize("host", ["a.b", "*.a.b"])
def test_hosts(host: str) -> None:
    assert found(f"rules: [{{host: '{host}'}}]\ntls: [{{hosts: ['{host}']}}]") == []


@pytest.mark.parametrize("host", ["a.*", "*a.b", "1.2.3.4", "a_b"])
def test_hosts_that_cannot_be(host: str) -> None:
    assert found(f"rules: [{{host: '{host}'}}]") == ["error spec.rules[0].host InvalidHost"]
    tls = f"tls: [{{hosts: ['{host}']}}]"
    assert found(tls) == ["error spec.tls[0].hosts[0] InvalidHost"]


def test_only_ingresses_of_the_mesh_are_warned_of() -> None:
    spec = f"default{BACKEND.replace('backend', 'Backend')}\ntls: [{{hosts: [a.b]}}]"
    expected = ["spec.defaultBackend NoEffect", "spec.tls[0] NoEffect"]
    warnings = [f"warning {line}" for line in expected]
    assert found(spec) == []
    assert found(f"{spec}\ningressClassName: nginx") == []
    assert found(f"{spec}\ningressClassName: istio") == warnings
    annotation = "{kubernetes.io/ingress.class: istio}"
    assert found(f"{spec}\ningressClassName: nginx", annotation) == warnings


def test_classes_name_their_controller() -> None:
    head = "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: it}\n"
    (finding,) = check(f"{head}spec: {{controller: istio.io/ingress-controller}}", "f")
    assert isinstance(finding.resource, IngressClass)
    assert finding.resource.spec.controller == "istio.io/ingress-controller"
    assert finding.namespace == ""
