"""Attachments: the gateways that a policy names in `targetRef` or `targetRefs`.

A Service or a ServiceEntry can be named as well, but only waypoints decide for those: such a target
has no effect, and a policy that has no other one gives no row.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from libs.api import reasons
from libs.api.problem import Problem, Severity
from libs.api.selector import TargetReference
from libs.model.ids import Ref
from libs.proxy.attachments import GATEWAY, GATEWAY_CLASS

_GROUP = "gateway.networking.k8s.io"
_KINDS = frozenset({GATEWAY, GATEWAY_CLASS})


class Attached(NamedTuple):
    """What a policy is attached to; None: to nothing that could follow it."""

    targets: tuple[str, ...] | None
    problems: tuple[Problem, ...]


def attached(
    owner: Ref, single: TargetReference | None, several: Sequence[TargetReference]
) -> Attached:
    """Return the targets of a policy, `<kind>/<name>`; none at all if it selects by labels."""
    written = list(_written(single, several))
    good = [it for _, it in written if it.group == _GROUP and it.kind in _KINDS]
    problems = tuple(
        Problem(
            owner,
            path,
            reasons.UNSUPPORTED_FIELD,
            f"only a waypoint could follow a policy for a {it.kind}: this has no effect",
            Severity.WARNING,
        )
        for path, it in written
        if it not in good
    )
    if written and not good:
        return Attached(None, problems)
    return Attached(tuple(f"{it.kind}/{it.name}" for it in good), problems)


def _written(
    single: TargetReference | None, several: Sequence[TargetReference]
) -> Iterator[tuple[str, TargetReference]]:
    if single:
        yield "spec.targetRef", single
    for index, target in enumerate(several):
        yield f"spec.targetRefs[{index}]", target
