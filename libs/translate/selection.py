"""Selection: the workloads of a namespace that carry all labels of a selector."""

from collections.abc import Mapping
from typing import cast

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


def _rarity(item: tuple[str, str]) -> tuple[bool, str]:
    """Versions and the like are shared by many more workloads than names are."""
    return item[0] not in {"app", "app.kubernetes.io/name"}, item[0]
