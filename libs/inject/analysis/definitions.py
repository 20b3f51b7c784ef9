"""Definitions: CRDs of the Gateway API, which nothing follows yet, and which may be too old."""

from collections.abc import Iterator

from libs.api import gateway_api
from libs.api.problem import Problem
from libs.inject.analysis.scenery import Scenery


def gateway_kinds(seen: Scenery) -> Iterator[Problem]:
    """Yield what there is to say of definitions among the documents."""
    found = [it for it in seen.subjects if it.kind == gateway_api.DEFINITION]
    yield from gateway_api.unfollowed(it.name for it in found)
    for it in found:
        yield from gateway_api.outdated(it.name, it.annotations.get(gateway_api.BUNDLE, ""))
