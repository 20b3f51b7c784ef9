import pytest

from tests.support.rulings import manifest, ruling

DRY_RUN = "annotations: {istio.io/dry-run: '%s'}"
POLICY = ("AuthorizationPolicy", "rules: [{}]")
PEERS = ("PeerAuthentication", "{}")


@pytest.mark.parametrize(
    ("kind", "spec", "annotation", "right"),
    [
        (*POLICY, DRY_RUN % "true", True),
        (*POLICY, DRY_RUN % "F", True),
        (*POLICY, DRY_RUN % "maybe", False),
        ("AuthorizationPolicy", "action: AUDIT\nrules: [{}]", DRY_RUN % "true", False),
        (*PEERS, DRY_RUN % "true", False),
        (*PEERS, "annotations: {a: b}", True),
        (*PEERS, "annotations: {internal.istio.io/parents: a}", False),
        (*PEERS, "annotations: {internal.istio.io/webhook-always-reject: a}", False),
    ],
)
def test_annotations(kind: str, spec: str, annotation: str, right: bool) -> None:
    found = ruling(manifest(kind, spec, metadata=annotation))
    assert [line.partition("]")[2] for line in found] == ([] if right else [" InvalidAnnotation"])


def test_one_that_changes_nothing_is_said() -> None:
    written = "annotations: {envoyfilter.istio.io/referenced-services: a}"
    found = ruling(manifest("EnvoyFilter", "configPatches: []", metadata=written))
    assert any("referenced-services] NoEffect" in line for line in found), found
