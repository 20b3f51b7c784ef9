import pytest

from tests.support.rulings import of_policy

SERVICE = "{kind: Service, name: a}"


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        (
            f"targetRef: {SERVICE}",
            "targetRef: {kind: Pod, name: a}",
            "spec.targetRef.kind InvalidTarget",
        ),
        (
            "targetRef: {group: core, kind: Service, name: a}",
            "targetRef: {group: apps, kind: Service, name: a}",
            "spec.targetRef.kind InvalidTarget",
        ),
        (
            "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: a}]",
            "targetRefs: [{group: networking.istio.io, kind: Gateway, name: a}]",
            "spec.targetRefs[0].kind InvalidTarget",
        ),
        (
            f"targetRef: {SERVICE}",
            "targetRef: {kind: Service, name: a, namespace: here}",
            "spec.targetRef.namespace InvalidTarget",
        ),
        (
            f"targetRef: {SERVICE}",
            "targetRef: {kind: Service, name: ''}",
            "spec.targetRef.name OutOf",
        ),
        (
            f"targetRefs: [{', '.join([SERVICE] * 16)}]",
            f"targetRefs: [{', '.join([SERVICE] * 17)}]",
            "spec.targetRefs OutOfRange",
        ),
        (
            "selector: {matchLabels: {a: b}}",
            f"selector: {{matchLabels: {{a: b}}}}\ntargetRef: {SERVICE}",
            "spec ConflictingFields",
        ),
        (
            f"targetRef: {SERVICE}",
            f"targetRef: {SERVICE}\ntargetRefs: [{SERVICE}]",
            "spec Conflicting",
        ),
    ],
)
def test_targets(good: str, bad: str, found: str) -> None:
    assert of_policy(f"rules: [{{}}]\n{good}") == []
    (error,) = of_policy(f"rules: [{{}}]\n{bad}")
    assert error.startswith(found)
