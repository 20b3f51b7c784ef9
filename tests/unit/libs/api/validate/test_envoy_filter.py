import pytest

from tests.support.rulings import manifest, ruling

GENERAL = "warning spec EnvoyInternals"
REMOVE = "patch: {operation: REMOVE}"


def of_filter(spec: str) -> list[str]:
    found = ruling(manifest("EnvoyFilter", spec))
    assert found.pop(next(at for at, line in enumerate(found) if line == GENERAL)) == GENERAL
    return found


def of_patch(fields: str) -> list[str]:
    found = of_filter(f"priority: 1\nconfigPatches: [{{{fields}}}]")
    return [line.replace("spec.configPatches[0]", "it") for line in found]


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        (f"applyTo: CLUSTER, {REMOVE}", REMOVE, "it.applyTo MissingField"),
        (f"applyTo: CLUSTER, {REMOVE}", "applyTo: CLUSTER", "it.patch MissingField"),
        (
            f"applyTo: CLUSTER, {REMOVE}",
            "applyTo: CLUSTER, patch: {value: {}}",
            "it.patch.operation MissingField",
        ),
        (
            "applyTo: CLUSTER, patch: {operation: MERGE, value: {a: 1}}",
            "applyTo: CLUSTER, patch: {operation: MERGE}",
            "it.patch.value MissingField",
        ),
        (
            f"applyTo: CLUSTER, match: {{proxy: {{proxyVersion: '1.*'}}}}, {REMOVE}",
            f"applyTo: CLUSTER, match: {{proxy: {{proxyVersion: '('}}}}, {REMOVE}",
            "it.match.proxy.proxyVersion InvalidRegex",
        ),
        (
            f"applyTo: CLUSTER, {REMOVE}",
            f"applyTo: CLUSTER, match: {{proxy: {{proxyVersion: {'a' * 1025}}}}}, {REMOVE}",
            "warning it.match.proxy.proxyVersion InvalidRegex",
        ),
        (
            f"applyTo: CLUSTER, {REMOVE}",
            f"applyTo: HTTP_ROUTE, {REMOVE}",
            "warning it.patch.operation NoEffect",
        ),
        (
            "applyTo: VIRTUAL_HOST, patch: {operation: ADD, value: {}}",
            "applyTo: ROUTE_CONFIGURATION, patch: {operation: ADD, value: {}}",
            "warning it.patch.operation NoEffect",
        ),
        (
            "applyTo: VIRTUAL_HOST, patch: {operation: REPLACE, value: {}}",
            "applyTo: CLUSTER, patch: {operation: REPLACE, value: {}}",
            "warning it.patch.operation NoEffect",
        ),
        (
            "applyTo: HTTP_FILTER, patch: {operation: ADD, filterClass: AUTHZ, value: {}}",
            "applyTo: CLUSTER, patch: {operation: ADD, filterClass: AUTHZ, value: {}}",
            "warning it.patch.filterClass NoEffect",
        ),
        (
            "match: {context: WAYPOINT, waypoint: {portNumber: 80}}",
            "match: {context: WAYPOINT, waypoint: {portNumber: 0}}",
            "it.match.waypoint.portNumber InvalidPort",
        ),
        (
            "match: {context: WAYPOINT, waypoint: {}}",
            f"applyTo: CLUSTER, match: {{waypoint: {{}}}}, {REMOVE}",
            "it.match ConflictingFields",
        ),
    ],
)
def test_patches(good: str, bad: str, found: str) -> None:
    assert of_patch(good) == []
    assert of_patch(bad) == [found]


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (
            (
                "workloadSelector: {labels: {a: b}}\n"
                "targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: a}]"
            ),
            ["spec ConflictingFields"],
        ),
        ("workloadSelector: {labels: {a: '*'}}", ["spec.workloadSelector.labels.a InvalidLabel"]),
        ("targetRefs: [{kind: Pod, name: a}]", ["warning spec.targetRefs[0].kind InvalidTarget"]),
        ("targetRefs: [{kind: 1x, name: a}]", ["spec.targetRefs[0].kind InvalidTarget"]),
        (
            "configPatches: [{applyTo: CLUSTER, patch: {operation: REMOVE}}]",
            ["warning spec.configPatches[0].patch.operation RelativePatch"],
        ),
        (
            (
                "configPatches: [{applyTo: CLUSTER, match: {proxy: {proxyVersion: '^1'}}, "
                "patch: {operation: REMOVE}}]"
            ),
            ["warning spec.configPatches[0].patch.operation RelativePatchOfVersion"],
        ),
    ],
)
def test_envoy_filters(bad: str, found: list[str]) -> None:
    assert of_filter("workloadSelector: {labels: {a: b}}") == []
    assert of_filter(bad) == found
