"""Selection: the workloads of a namespace that carry all labels of a selector."""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import cast

from libs.api import reasons
from libs.api.problem import Problem, Severity
from libs.model.mesh import Table
from libs.model.workload import Workload
from libs.translate.groups import Group
from libs.translate.view import View


def selected(
    view: View, namespace: str, selector: Mapping[str, str], *, group: Group
) -> list[Workload]:
    """Return the workloads of `group` that `selector` covers; an empty one covers none.

    `group` is one of those by label. It is asked for one label only, the same each time.
    """
    if not selector:
        return []
    label, value = min(selector.items(), key=_rarity)
    rows = view.rows(Table.WORKLOAD, group, f"{namespace}/{label}={value}")
    found = cast("list[Workload]", rows)
    return [workload for workload in found if selector.items() <= workload.labels.items()]


def unresolved(workloads: Iterable[Workload], host: str) -> Iterator[Problem]:
    """Yield a problem for each machine whose address is a name, which `host` does not resolve."""
    for workload in workloads:
        if workload.entry and any(map(_is_name, workload.addresses)):
            text = (
                f"is a name, and {host} has addresses only: a ServiceEntry with DNS resolves names"
            )
            yield Problem(
                workload.ref, "spec.address", reasons.NO_EFFECT, text, severity=Severity.WARNING
            )


def _is_name(address: str) -> bool:
    try:
        ip_address(address)
    except ValueError:
        return not address.startswith("unix://")
    return False


def _rarity(item: tuple[str, str]) -> tuple[bool, str]:
    """Versions and the like are shared by many more workloads than names are."""
    return item[0] not in {"app", "app.kubernetes.io/name"}, item[0]
