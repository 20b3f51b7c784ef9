"""Memberships: which services name a workload among their endpoints, and at which of its ports.

Endpoints move all the time, memberships hardly ever; an entry stays the same object for as long as
it stays equal, so that whoever derived something from it need not do so again.
"""

from collections.abc import Mapping

from libs.model.endpoint import EndpointSet
from libs.model.ids import ServiceKey, WorkloadKey

Membership = Mapping[tuple[ServiceKey, str], int]
"""The workload's own port by service and name of the service's port."""

NO_MEMBERSHIP: Membership = {}


class Memberships:
    """The memberships of all workloads; `update` looks only at the endpoint sets that changed."""

    def __init__(self) -> None:
        self._sets: Mapping[str, EndpointSet] = {}
        self._entries: dict[WorkloadKey, Membership] = {}

    def of(self, workload: WorkloadKey) -> Membership:
        """Return the membership of one workload."""
        return self._entries.get(workload, NO_MEMBERSHIP)

    def update(self, sets: Mapping[str, EndpointSet]) -> None:
        """Take in the endpoint sets of a newer mesh."""
        before = self._sets
        if sets is before:
            return
        moved: dict[WorkloadKey, dict[tuple[ServiceKey, str], int]] = {}
        for key in before.keys() | sets.keys():
            old, new = before.get(key), sets.get(key)
            if old is not new:
                self._withdraw(moved, old)
                self._enter(moved, new)
        for workload, entry in moved.items():
            self._settle(workload, entry)
        self._sets = sets

    def _draft(
        self, moved: dict[WorkloadKey, dict[tuple[ServiceKey, str], int]], workload: WorkloadKey
    ) -> dict[tuple[ServiceKey, str], int]:
        if workload not in moved:
            moved[workload] = dict(self.of(workload))
        return moved[workload]

    def _withdraw(
        self,
        moved: dict[WorkloadKey, dict[tuple[ServiceKey, str], int]],
        old: EndpointSet | None,
    ) -> None:
        for endpoint in old.endpoints if old else ():
            if old and endpoint.workload:
                self._draft(moved, endpoint.workload).pop((old.key, endpoint.port_name), None)

    def _enter(
        self,
        moved: dict[WorkloadKey, dict[tuple[ServiceKey, str], int]],
        new: EndpointSet | None,
    ) -> None:
        for endpoint in new.endpoints if new else ():
            if new and endpoint.workload:
                draft = self._draft(moved, endpoint.workload)
                draft[(new.key, endpoint.port_name)] = endpoint.port

    def _settle(self, workload: WorkloadKey, entry: Membership) -> None:
        if not entry:
            self._entries.pop(workload, None)
        elif entry != self._entries.get(workload):
            self._entries[workload] = entry
