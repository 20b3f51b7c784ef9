import pytest

from libs.api.check import check
from tests.support.rulings import manifest

PATCH = "applyTo: CLUSTER, patch: {operation: MERGE, value: {name: %s}}"
PLACE = "spec.configPatches[0].patch.value"
AT_WAYPOINT = "match: {context: WAYPOINT, waypoint: {}}, "


def fits(target: str, value: bytes) -> tuple[str, str]:
    """Stand for Envoy's types, which know no `bad` and have no use for `odd`."""
    assert target == "CLUSTER"
    return ("it is bad" if b"bad" in value else "", "it is odd" if b"odd" in value else "")


def of_patch(fields: str) -> tuple[list[str], list[str]]:
    text = manifest("EnvoyFilter", f"configPatches: [{{{fields}}}]")
    (found,) = check(text, "test.yaml", fits=fits)
    errors = [f"{it.path} {it.reason}" for it in found.errors]
    return errors, [f"{it.path} {it.reason}" for it in found.warnings if it.path != "spec"]


@pytest.mark.parametrize(
    ("fields", "errors", "warnings"),
    [
        (PATCH % "good", [], []),
        (PATCH % "bad", [f"{PLACE} PatchMisfit"], []),
        (PATCH % "odd", [], [f"{PLACE} PatchMisfit"]),
        (AT_WAYPOINT + PATCH % "bad", [], []),
    ],
)
def test_values(fields: str, errors: list[str], warnings: list[str]) -> None:
    assert of_patch(fields) == (errors, warnings)


def test_who_knows_no_types_refuses_nothing() -> None:
    text = manifest("EnvoyFilter", f"configPatches: [{{{PATCH % 'bad'}}}]")
    (found,) = check(text, "test.yaml")
    assert found.errors == ()
