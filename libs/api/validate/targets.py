"""Rules about what a policy attaches to: workloads, or what stands before them."""

import re
from collections.abc import Sequence

from libs.api import reasons, registry
from libs.api.path import Path
from libs.api.report import Report
from libs.api.selector import TargetReference, WorkloadSelector

CORE_GROUP = "core"
TARGETS = frozenset(
    {
        (registry.CORE, "Service"),
        (CORE_GROUP, "Service"),
        (registry.NETWORKING, "ServiceEntry"),
        (registry.GATEWAY_API, "Gateway"),
        (registry.GATEWAY_API, "GatewayClass"),
    }
)

_GROUP = re.compile(r"|[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_KIND = re.compile(r"[a-zA-Z](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?")


def check_attachment(
    selector: WorkloadSelector | None,
    target: TargetReference | None,
    targets: Sequence[TargetReference],
    *,
    report: Report,
) -> None:
    """Report targets that a policy cannot have, and more than one way to name them."""
    spec: Path = (None, "spec")
    if sum((selector is not None, target is not None, bool(targets))) > 1:
        text = "only one of selector, targetRef and targetRefs may be set"
        report.error(spec, reasons.CONFLICTING_FIELDS, text)
    if target is not None:
        _check_target(target, (spec, "targetRef"), report)
    check_targets(targets, (spec, "targetRefs"), report)


def check_targets(
    targets: Sequence[TargetReference], path: Path, report: Report, *, lenient: bool = False
) -> None:
    """Report targets, of the list at `path`, that a policy cannot have.

    `lenient`: Istio accepts targets of any kind, and does nothing with them.
    """
    for index, reference in enumerate(targets):
        _check_target(reference, (path, index), report, lenient=lenient)


def _check_target(
    target: TargetReference, path: Path, report: Report, *, lenient: bool = False
) -> None:
    if target.namespace:
        text = "must not be set: a policy only has targets in its own namespace"
        report.error((path, "namespace"), reasons.INVALID_TARGET, text)
    if (target.group, target.kind) not in TARGETS:
        text = (
            f"{target.kind[:100]!r} of group {target.group[:100]!r} is no target: "
            "a Service, ServiceEntry, Gateway or GatewayClass is"
        )
        named = _GROUP.fullmatch(target.group) and _KIND.fullmatch(target.kind)
        refuse = report.warning if lenient and named else report.error
        refuse((path, "kind"), reasons.INVALID_TARGET, text)
