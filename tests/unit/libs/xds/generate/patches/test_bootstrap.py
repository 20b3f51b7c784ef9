"""What EnvoyFilters lay over a bootstrap."""

import json

from libs.model.patches import PatchSet
from libs.protos.bootstrap.v1.bootstrap_pb2 import Patches
from libs.proxy.scoper import Scoper
from libs.xds import generate, outcomes
from libs.xds.types import BOOTSTRAP, Snapshot
from tests.support.mesh import mesh, proxy
from tests.support.patches import patch_set

MERGE = "{applyTo: BOOTSTRAP, patch: {operation: MERGE, value: %s}}"


def snapshot(*sets: PatchSet, **client: object) -> Snapshot:
    return generate.snapshot(Scoper().scope(mesh(*sets), proxy(**client)))


def laid_over(found: Snapshot) -> object:
    (one,) = found.of(BOOTSTRAP).resources.values()
    return json.loads(Patches.FromString(one.body).json)


def test_nobody_gets_anything_without_a_patch() -> None:
    assert not snapshot().of(BOOTSTRAP).resources


def test_patches_are_merged_in_their_order_and_lists_grow() -> None:
    sink = "{stats_flush_interval: %s, stats_sinks: [{name: %s}]}"
    sets = [
        patch_set(f"- {MERGE % (sink % ('5s', 'late'))}", name="late", priority=9),
        patch_set(f"- {MERGE % (sink % ('7s', 'early'))}", name="early"),
    ]
    found = snapshot(*sets)
    assert laid_over(found) == {
        "stats_flush_interval": "5s",
        "stats_sinks": [{"name": "early"}, {"name": "late"}],
    }
    (one,) = found.of(BOOTSTRAP).resources.values()
    assert one.sources == ("EnvoyFilter/shop/early", "EnvoyFilter/shop/late")


def test_equal_patches_give_equal_bytes() -> None:
    one = patch_set(f"- {MERGE % '{node: {metadata: {a: b, c: d}}}'}")
    other = patch_set(f"- {MERGE % '{node: {metadata: {c: d, a: b}}}'}")
    assert snapshot(one).of(BOOTSTRAP).version == snapshot(other).of(BOOTSTRAP).version


def test_a_patch_for_certain_proxies_leaves_others_alone() -> None:
    text = """
        - applyTo: BOOTSTRAP
          match: {proxy: {metadata: {FLAVOUR: sweet}}}
          patch: {operation: MERGE, value: {stats_flush_interval: 7s}}
        """
    assert not snapshot(patch_set(text)).of(BOOTSTRAP).resources
    found = snapshot(patch_set(text), metadata={"FLAVOUR": "sweet"})
    assert laid_over(found) == {"stats_flush_interval": "7s"}


def test_what_cannot_be_done_is_said() -> None:
    removal = patch_set("- {applyTo: BOOTSTRAP, patch: {operation: REMOVE}}")
    (outcome,) = outcomes.summed(snapshot(removal).sets.values())
    assert "only merged" in outcomes.finding(outcome)


def test_other_types_are_left_as_they_are() -> None:
    patched, plain = snapshot(patch_set(f"- {MERGE % '{stats_flush_interval: 7s}'}")), snapshot()
    for type_url, found in plain.sets.items():
        if type_url != BOOTSTRAP:
            assert patched.of(type_url).resources == found.resources
