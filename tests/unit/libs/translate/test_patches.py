"""EnvoyFilters as rows."""

import yaml

from libs.model.mesh import Table
from libs.model.settings import MeshSettings
from libs.translate.apply import Upsert, apply, initial
from tests.support.patches import envoy_filter, patch_set


def problems(spec: str) -> list[tuple[str, str]]:
    resource = envoy_filter(yaml.safe_load(spec), "p", "shop")
    step = apply(initial(MeshSettings()), [Upsert(resource)])
    assert Table.PATCHES in step.state.mesh.tables
    return [(problem.path, problem.severity) for problem in step.problems]


def test_equal_values_are_equal_whatever_the_order_of_their_keys() -> None:
    text = "- {applyTo: CLUSTER, patch: {operation: MERGE, value: {%s}}}"
    assert patch_set(text % "a: 1, b: [x]") == patch_set(text % "b: [x], a: 1")


def test_a_patch_keeps_its_place_when_others_have_no_effect() -> None:
    row = patch_set("""
        - {applyTo: CLUSTER, match: {context: WAYPOINT, waypoint: {}}, patch: {operation: REMOVE}}
        - {applyTo: CLUSTER, patch: {operation: REMOVE}}
        """)
    assert [(patch.index, patch.target) for patch in row.patches] == [(1, "CLUSTER")]


def test_what_has_no_effect_is_said() -> None:
    spec = """
        configPatches:
        - {applyTo: CLUSTER, match: {context: WAYPOINT}, patch: {operation: REMOVE}}
        - {applyTo: CLUSTER, match: {context: ANY}, patch: {operation: REMOVE}}
        """
    assert problems(spec) == [
        ("spec.configPatches[0].match", "warning"),
    ]
