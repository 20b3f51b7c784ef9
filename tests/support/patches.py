"""Patches in tests: EnvoyFilters as they are written, applied to what a small mesh gives."""

from collections.abc import Mapping
from typing import cast

import yaml

from libs.api.decode import decode
from libs.api.networking.envoy_filter import EnvoyFilter
from libs.api.resource import Resource
from libs.model.patches import PatchSet
from libs.translate.patches import derive
from libs.translate.view import Source, View


def patch_set(text: str, name: str = "p", namespace: str = "shop", **spec: object) -> PatchSet:
    """Return the row of an EnvoyFilter with the `configPatches` that `text` has as YAML."""
    resource = envoy_filter({"configPatches": yaml.safe_load(text), **spec}, name, namespace)
    (_, row), *_ = derive(_no_view(), resource).rows
    assert isinstance(row, PatchSet)
    return row


def envoy_filter(spec: Mapping[str, object], name: str, namespace: str) -> EnvoyFilter:
    """Return an EnvoyFilter, decoded."""
    raw = {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
    resource = decoded(raw)
    assert isinstance(resource, EnvoyFilter)
    return resource


def decoded(raw: Mapping[str, object]) -> Resource:
    """Return the resource of a manifest in which nothing is wrong."""
    resource, problems = decode(raw)
    assert resource is not None, problems
    return resource


def _no_view() -> View:
    return View(cast("Source", None))  # an EnvoyFilter asks nothing of it
