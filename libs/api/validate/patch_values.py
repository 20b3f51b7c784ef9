"""Rules about what the patches of an EnvoyFilter hold; Envoy's types are known to whoever asks.

What only reads resources need not load them, so they come as a function: `Fits`.
"""

from collections.abc import Callable

import msgspec

from libs.api import reasons
from libs.api.networking.envoy_filter import ApplyTo, EnvoyFilter, PatchContext
from libs.api.path import Path
from libs.api.problem import Problem
from libs.api.report import Report
from libs.api.resource import Resource

Fits = Callable[[str, bytes], tuple[str, str]]
"""Given what is patched and a value as JSON, returns why it is refused, and what has no effect."""

PATCHES: Path = ((None, "spec"), "configPatches")


def check_values(resource: Resource, fits: Fits) -> list[Problem]:
    """Return what is wrong with the values of an EnvoyFilter, if `resource` is one."""
    report = Report(resource.ref)
    if isinstance(resource, EnvoyFilter):
        _check(resource, fits, report)
    return report.problems


def _check(resource: EnvoyFilter, fits: Fits, report: Report) -> None:
    for index, patch in enumerate(resource.spec.config_patches):
        at_waypoint = patch.match is not None and patch.match.context is PatchContext.WAYPOINT
        if at_waypoint or patch.apply_to is ApplyTo.INVALID:
            continue
        if patch.patch is None or patch.patch.value is None:
            continue
        place = (((PATCHES, index), "patch"), "value")
        refused, in_vain = fits(patch.apply_to, msgspec.json.encode(patch.patch.value))
        if refused:
            report.error(place, reasons.PATCH_MISFIT, refused)
        elif in_vain:
            report.warning(place, reasons.PATCH_MISFIT, in_vain)
