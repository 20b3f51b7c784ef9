from libs.api.problem import Problem
from tests.support.resources import translated

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
---
"""


def found(kind: str, spec: str) -> list[tuple[str, str, str]]:
    group = "security" if kind == "AuthorizationPolicy" else "networking"
    header = (
        f"apiVersion: {group}.istio.io/v1\nkind: {kind}\nmetadata: {{name: x, namespace: shop}}\n"
    )
    return [_short(problem) for problem in translated(SERVICE + header + spec).problems]


def _short(problem: Problem) -> tuple[str, str, str]:
    return (problem.path, problem.reason, problem.severity)


def test_claims_of_tokens() -> None:
    spec = """
spec:
  hosts: [web]
  http:
  - match: [{headers: {"@request.auth.claims.group": {exact: a}}}]
    route: [{destination: {host: web}}]
"""
    assert found("VirtualService", spec) == [
        ("spec.http[0].match[0].headers", "UnsupportedField", "error")
    ]
    at_gateway = spec.replace("hosts: [web]", "hosts: [web]\n  gateways: [edge]")
    assert ("spec.http[0].match[0].headers", "UnsupportedField", "error") not in found(
        "VirtualService", at_gateway
    )


def test_addresses_at_gateways() -> None:
    spec = """
spec:
  hosts: [a.com]
  gateways: [edge]
  tcp:
  - match: [{port: 1}, {destinationSubnets: [10.0.0.0/8]}]
    route: [{destination: {host: web}}]
"""
    place = "spec.tcp[0].match[1].destinationSubnets"
    assert (place, "NoEffect", "warning") in found("VirtualService", spec)
    at_sidecars = spec.replace("[edge]", "[mesh]")
    assert (place, "NoEffect", "warning") not in found("VirtualService", at_sidecars)


def test_policies_for_waypoints() -> None:
    target = "{kind: Service, name: s}"
    assert found("AuthorizationPolicy", f"spec: {{targetRef: {target}}}") == [
        ("spec.targetRef", "UnsupportedField", "warning")
    ]


def test_what_works_is_not_complained_about() -> None:
    routing = "spec: {hosts: [web], http: [{route: [{destination: {host: web}}]}]}"
    assert found("VirtualService", routing) == []
    assert (
        found("DestinationRule", "spec: {host: web, trafficPolicy: {tls: {mode: DISABLE}}}") == []
    )
    assert found("AuthorizationPolicy", "spec: {rules: [{}]}") == []
