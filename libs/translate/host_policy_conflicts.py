"""Host policy conflicts: what a DestinationRule says that nobody will ever hear.

DestinationRules of one namespace for one host are merged, oldest first: their subsets are put
together, and the first policy for the whole host is the only one. Whatever of a newer rule is lost
by that is a problem of the newer rule.
"""

from collections.abc import Iterator
from typing import cast

from libs.api import reasons
from libs.api.networking.destination_rule import DestinationRule
from libs.api.problem import Problem
from libs.model.hosts import is_wildcard
from libs.model.mesh import Table
from libs.model.traffic import HostPolicy
from libs.translate.groups import Group
from libs.translate.order import age
from libs.translate.state import Derived
from libs.translate.view import View


def check(view: View, resource: DestinationRule) -> Derived:
    """Return the problems of a DestinationRule's host, and of what older rules already say."""
    own = cast("HostPolicy | None", view.row(Table.HOST_POLICY, resource.ref))
    if own is None:
        return Derived()
    return Derived(problems=(*_missing_host(view, own), *_lost(own, _merged_before(view, own))))


def _missing_host(view: View, own: HostPolicy) -> Iterator[Problem]:
    known = view.rows(Table.SERVICE, Group.SERVICES, own.host)
    if not is_wildcard(own.host) and not known:
        text = f"there is no service {own.host}"
        yield Problem(own.ref, "spec.host", reasons.HOST_NOT_FOUND, text)


def _merged_before(view: View, own: HostPolicy) -> list[HostPolicy]:
    """The older policies that `own` is merged into, oldest first."""
    rows = view.rows(Table.HOST_POLICY, Group.HOST_POLICIES, own.host)
    older = [it for it in cast("list[HostPolicy]", rows) if _merge(it, own) and age(it) < age(own)]
    return sorted(older, key=age)


def _merge(one: HostPolicy, other: HostPolicy) -> bool:
    return (
        one.namespace == other.namespace
        and set(one.export_to) == set(other.export_to)
        and one.selector is None
        and other.selector is None
    )


def _lost(own: HostPolicy, older: list[HostPolicy]) -> Iterator[Problem]:
    if own.policy is not None:
        winner = next((it for it in older if it.policy is not None), None)
        if winner is not None:
            text = f"{winner.ref} is older and already has the policy for {own.host}"
            yield Problem(own.ref, "spec.trafficPolicy", reasons.CONFLICTING_POLICY, text)
    first = {subset.name: it.ref for it in reversed(older) for subset in it.subsets}
    for index, subset in enumerate(own.subsets):
        if subset.name in first:
            text = f"{first[subset.name]} is older and already has a subset {subset.name!r}"
            path = f"spec.subsets[{index}].name"
            yield Problem(own.ref, path, reasons.DUPLICATE_SUBSET, text)
