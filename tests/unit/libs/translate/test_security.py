import pytest

from libs.model.security import (
    AccessPolicy,
    AccessRule,
    Action,
    Condition,
    MtlsMode,
    Operation,
    PeerPolicy,
    Source,
)
from tests.support.resources import mesh_of, translated

ACCESS = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: shop, annotations: {istio.io/dry-run: "true"}}
spec:
"""
PEER = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: NAME, namespace: shop, creationTimestamp: 1970-01-01T00:00:0SECONDZ}
spec:
"""


def access(spec: str) -> AccessPolicy:
    (found,) = mesh_of(ACCESS + spec).access_policies.values()
    return found


def peer(spec: str, name: str = "default", second: int = 0) -> str:
    return "---" + PEER.replace("NAME", name).replace("SECOND", str(second)) + spec


def test_an_access_policy() -> None:
    found = access("""
  selector: {matchLabels: {app: ratings}}
  action: DENY
  rules:
  - from: [{source: {principals: [td/ns/a/sa/b], namespaces: [x], serviceAccounts: [c, o/d]}}]
    to: [{operation: {methods: [GET], paths: ["/a/*"], ports: ["80", "443"]}}]
    when: [{key: source.ip, notValues: [10.0.0.1]}]
  - {}
""")
    assert found == AccessPolicy(
        ref=found.ref,
        namespace="shop",
        name="p",
        selector={"app": "ratings"},
        action=Action.DENY,
        dry_run=True,
        rules=(
            AccessRule(
                sources=(
                    Source(
                        principals=("td/ns/a/sa/b",),
                        namespaces=("x",),
                        service_accounts=("shop/c", "o/d"),
                    ),
                ),
                operations=(Operation(methods=("GET",), paths=("/a/*",), ports=(80, 443)),),
                conditions=(Condition(key="source.ip", not_values=("10.0.0.1",)),),
            ),
            AccessRule(),
        ),
    )


def test_no_rules_and_an_empty_rule_are_opposites() -> None:
    assert access("  {}").rules == ()
    assert access("  {rules: [{}]}").rules == (AccessRule(),)


@pytest.mark.parametrize("kind", ["Gateway", "GatewayClass"])
def test_a_policy_for_a_gateway_names_it(kind: str) -> None:
    target = f"{{group: gateway.networking.k8s.io, kind: {kind}, name: g}}"
    for written in (f"  {{targetRef: {target}, rules: [{{}}]}}", f"  {{targetRefs: [{target}]}}"):
        (found,) = mesh_of(ACCESS + written).access_policies.values()
        assert found.targets == (f"{kind}/g",)
        assert found.selector == {}


def test_a_policy_for_a_waypoint_decides_for_no_sidecar() -> None:
    assert not mesh_of(ACCESS + "  {targetRef: {kind: Service, name: s}}").access_policies


def test_a_peer_policy() -> None:
    (found,) = mesh_of(
        peer("""
  selector: {matchLabels: {app: a}}
  mtls: {mode: STRICT}
  portLevelMtls: {8080: {mode: DISABLE}}
""")
    ).peer_policies.values()
    assert found == PeerPolicy(
        ref=found.ref,
        namespace="shop",
        name="default",
        selector={"app": "a"},
        mode=MtlsMode.STRICT,
        ports={8080: MtlsMode.DISABLE},
    )


def test_of_two_policies_for_a_namespace_the_newer_is_a_problem() -> None:
    both = peer("  {mtls: {mode: STRICT}}", "new", 2) + "\n" + peer("  {}", "old", 1)
    (problem,) = translated(both).problems
    assert (problem.ref, problem.reason) == (
        "PeerAuthentication/shop/new",
        "ConflictingPolicy",
    )
    selecting = both + "\n" + peer("  {selector: {matchLabels: {a: b}}}", "third", 0)
    assert len(translated(selecting).problems) == 1


MESH = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - {name: sso, envoyExtAuthzGrpc: {service: other/sso.example, port: 9000}}
    - {name: metrics, prometheus: {}}
---
"""


@pytest.mark.parametrize(
    ("provider", "reason"),
    [("sso", "HostNotFound"), ("metrics", "UnknownProvider"), ("nobody", "UnknownProvider")],
)
def test_an_authorizer_that_cannot_be_asked_is_a_problem(provider: str, reason: str) -> None:
    written = f"  {{action: CUSTOM, provider: {{name: {provider}}}, rules: [{{}}]}}"
    found = translated(MESH + ACCESS.replace("{istio.io/dry-run: 'true'}", "{}") + written).problems
    assert [(it.path, it.reason) for it in found] == [("spec.provider.name", reason)]


CUSTOM = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{{labels}}}}}
  action: CUSTOM
  provider: {{name: ask-{provider}}}
  rules: [{{}}]
"""


def _custom(name: str, provider: str, labels: str = "app: a", namespace: str = "shop") -> str:
    return CUSTOM.format(name=name, namespace=namespace, labels=labels, provider=provider)


def test_two_authorizers_for_one_workload_are_said() -> None:
    def said(*texts: str) -> set[str]:
        problems = translated("---".join(texts)).problems
        return {it.ref for it in problems if it.reason == "ConflictingPolicy"}

    one = _custom("one", "x")
    both = {f"AuthorizationPolicy/shop/{name}" for name in ("one", "two")}
    assert said(one, _custom("two", "y")) == both
    assert said(one, _custom("two", "y", "version: v1")) == both
    assert said(one, _custom("two", "y", "app: b")) == set()
    assert said(one, _custom("two", "x")) == set()
    assert said(one, _custom("two", "y", namespace="bank")) == set()
    assert said(one, _custom("two", "y", namespace="istio-system")) == {
        "AuthorizationPolicy/shop/one"
    }
