"""Plan: what has to happen to one WorkloadEntry, by what is and what should be. Pure.

An entry is one of ours if a group registered it and one of our replicas had its machine last; those
of another control plane, and those that people have written, are never touched. A machine counts
only if its group is there, in the namespace and for the account that it has proved.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import Struct

from libs.api.networking.workload_group import WorkloadGroup
from libs.model import revisions
from libs.translate import machine_groups
from libs.translate.machine_groups import CONNECTED_AT, CONTROLLER, DISCONNECTED_AT
from services.discovery.machines.place import Entry, Health, Present

CONTROLLER_NAME = "seine-config-push"
"""Begins the names that `istio.io/workloadController` has for replicas of ours, of any revision."""


class Terms(Struct, frozen=True, kw_only=True):
    """What holds for all entries."""

    grace: float
    """Seconds for which an entry stays when its machine is gone."""
    revision: str = revisions.DEFAULT
    """Of this control plane: machines that another one had are left to that."""

    @property
    def ours(self) -> str:
        """What the names of this control plane's replicas begin with."""
        return f"{revisions.named(CONTROLLER_NAME, self.revision)}@"

    def controller(self, replica: str) -> str:
        """Return the name of a replica in an entry."""
        return f"{self.ours}{replica}"

    def is_ours(self, entry: Entry) -> bool:
        """Tell whether one of our replicas had the machine last."""
        return entry.controller.startswith(self.ours)


class Create(Struct, frozen=True):
    """Write an entry that is not there."""

    document: dict[str, object]


class Annotate(Struct, frozen=True):
    """Set annotations; None takes one away. `lost`: because nobody has the machine any more."""

    annotations: Mapping[str, str | None]
    lost: bool = False


class Tell(Struct, frozen=True):
    """Write the condition Healthy."""

    health: Health


class Delete(Struct, frozen=True):
    """Remove the entry."""


class Look(Struct, frozen=True):
    """Look again after so many seconds."""

    seconds: float


class Taken(Struct, frozen=True):
    """Somebody else wrote an entry of that name, which is left alone."""


Step = Create | Annotate | Tell | Delete | Look | Taken | None


def decide(
    entry: Entry | None,
    present: Present | None,
    group: WorkloadGroup | None,
    *,
    heard: bool,
    now: float,
    terms: Terms,
) -> Step:
    """Return what to do next with an entry.

    Args:
        entry: what there is.
        present: the machine, if it is connected.
        group: the group that the machine names, or without one that of the entry.
        heard: whether it is known who is not connected.
        now: wall seconds.
        terms: what holds for all entries.

    """
    if present is not None and not _permitted(present, group):
        present = None
    if entry is None:
        return _new(present, group, now, terms=terms)
    if not entry.group or (present and present.machine.group != entry.group):
        return Taken() if present else None
    if terms.is_ours(entry) and (group is None or machine_groups.account(group) != entry.account):
        return Delete()
    if present is not None:
        return _kept(entry, present, terms)
    return _left(entry, now, terms.grace) if heard and terms.is_ours(entry) else None


def _permitted(present: Present, group: WorkloadGroup | None) -> bool:
    machine = present.machine
    return (
        group is not None
        and group.metadata.namespace == machine.namespace
        and group.metadata.name == machine.group
        and machine_groups.account(group) == machine.service_account
    )


def _new(present: Present | None, group: WorkloadGroup | None, now: float, *, terms: Terms) -> Step:
    if present is None or group is None:
        return None
    annotations = {CONTROLLER: terms.controller(present.replica), CONNECTED_AT: timestamp(now)}
    return Create(machine_groups.document(group, present.machine, annotations))


def _kept(entry: Entry, present: Present, terms: Terms) -> Step:
    name = terms.controller(present.replica)
    if entry.controller != name or entry.disconnected_at or not entry.connected_at:
        since = timestamp(present.since)
        return Annotate({CONTROLLER: name, CONNECTED_AT: since, DISCONNECTED_AT: None})
    said = present.health
    if said is None or not entry.checked:
        return None
    return None if (entry.healthy, entry.message) == (said.healthy, said.message) else Tell(said)


def _left(entry: Entry, now: float, grace: float) -> Step:
    since = seconds(entry.disconnected_at)
    if since is None:
        return Annotate({CONNECTED_AT: None, DISCONNECTED_AT: timestamp(now)}, lost=True)
    left = since + grace - now
    return Look(min(left, grace)) if left > 0 else Delete()


def timestamp(now: float) -> str:
    """Return wall seconds as RFC 3339."""
    return (
        datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    )


def seconds(text: str) -> float | None:
    """Return wall seconds; None if the text is no time."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
