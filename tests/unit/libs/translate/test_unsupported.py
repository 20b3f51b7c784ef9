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


def test_parts_of_policies_at_each_place() -> None:
    spec = """
spec:
  host: web
  trafficPolicy:
    tunnel: {targetHost: proxy, targetPort: 3128}
    retryBudget: {minRetryConcurrency: 5}
    loadBalancer: {zoneAwareLbSetting: {enabled: true}}
    portLevelSettings:
    - {port: {number: 80}, connectionPool: {http: {http2KeepAlive: {interval: 1s}}}}
  subsets:
  - name: v1
    trafficPolicy: {outlierDetection: {outlierDetectionHttpErrorCodes: [500]}}
"""
    expected = [
        "spec.subsets[0].trafficPolicy.outlierDetection.outlierDetectionHttpErrorCodes",
        "spec.trafficPolicy.loadBalancer.zoneAwareLbSetting",
        "spec.trafficPolicy.portLevelSettings[0].connectionPool.http.http2KeepAlive",
        "spec.trafficPolicy.retryBudget",
        "spec.trafficPolicy.tunnel",
    ]
    assert found("DestinationRule", spec) == [
        (path, "UnsupportedField", "warning") for path in expected
    ]


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
