"""Draft: the next state while events are being taken in.

It alone knows what has become stale: whatever changes touches its fact, and touching a fact makes
every derivation that has read it stale, together with the events that caused it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from msgspec import Struct

from libs.api.problem import Problem
from libs.api.resource import Resource
from libs.model.delta import Delta
from libs.model.ids import Ref, parse_ref
from libs.model.mesh import Key, Mesh, Table
from libs.translate import groups
from libs.translate.events import Event, Upsert
from libs.translate.groups import Group, Membership
from libs.translate.sharded import ShardedDraft
from libs.translate.state import Derived, Fact, Record, State, Step, Unit

Causes = frozenset[Ref]
T = TypeVar("T")
_NOTHING = Record()


class Draft:
    """Takes events in, lets rules derive again what they touched, and gives the step."""

    def __init__(self, before: State) -> None:
        self._before = before
        self._resources = ShardedDraft(before.resources)
        self._groups = ShardedDraft(before.groups)
        self._records = ShardedDraft(before.records)
        self._readers = ShardedDraft(before.readers)
        self._rows: dict[Key, Struct | None] = {}
        self._stale: dict[str, dict[Ref, Causes]] = {}
        self._new: dict[str, dict[Ref, Causes]] = {}  # by kind
        self._causes: set[Ref] = set()
        self._observed: dict[Ref, float] = {}
        self._problems_moved = False

    def resource(self, kind: str, reference: Ref) -> Resource | None:
        """Return a resource, or None."""
        return self._resources.get(kind, reference)

    def row(self, table: Table, key: str) -> Struct | None:
        """Return a row, or None."""
        place = Key(table, key)
        return self._rows[place] if place in self._rows else self._before.mesh.rows(table).get(key)

    def members(self, group: Group, key: str) -> Iterable[str]:
        """Return the refs or row keys that stand in a group under `key`."""
        return self._groups.shard(Fact(group, key))

    def default(self, key: Key) -> Struct | None:
        """Return the row that stands while no resource gives one."""
        return self._before.defaults.get(key)

    def take(self, event: Event) -> None:
        """Take one event in; an event that changes nothing touches nothing."""
        kind = parse_ref(event.ref)[0]
        before = self.resource(kind, event.ref)
        after = event.resource if isinstance(event, Upsert) else None
        if before == after:
            return
        first = self._observed.get(event.ref, event.observed)
        self._observed[event.ref] = min(first, event.observed)
        cause = frozenset({event.ref})
        if after is None:
            self._resources.drop(kind, event.ref)
        else:
            self._resources.put(kind, event.ref, after)
            self._new.setdefault(kind, {})[event.ref] = cause
        self._touch(Fact(kind, event.ref), cause)
        joined, left = _memberships(before, after, groups.of_resource)
        self._regroup(event.ref, joined=joined, left=left, causes=cause)

    def stale(self, rule: str, kind: str) -> list[tuple[Ref, Causes]]:
        """Return the owners for which `rule` must derive again, and the events that made it so."""
        owners = dict(self._new.get(kind, {}))
        for owner, causes in self._stale.pop(rule, {}).items():
            owners[owner] = owners.get(owner, frozenset()) | causes
        return sorted(owners.items())

    def settle(
        self, unit: Unit, derived: Derived, *, reads: frozenset[Fact], causes: Causes
    ) -> None:
        """Replace what `unit` made before by what it makes now. No reads: its owner has gone."""
        before = self._records.get(unit.rule, unit.owner) or _NOTHING
        rows = dict(derived.rows)
        self._remember(unit, before, Record(reads, tuple(rows), derived.problems))
        for key in before.keys:
            if key not in rows:
                self._set(key, self.default(key), causes)
        for key, row in rows.items():
            self._set(key, row, causes)

    def kept(self, unit: Unit, problem: Problem) -> Derived:
        """Return what `unit` made before, with a problem more in place of those it had."""
        before = self._records.get(unit.rule, unit.owner) or _NOTHING
        rows = ((key, self.row(*key)) for key in before.keys)
        return Derived(
            rows=tuple((key, row) for key, row in rows if row is not None), problems=(problem,)
        )

    def step(self) -> Step:
        """Return what it all came to. Nothing may be taken in afterwards."""
        moved = {key: row for key, row in self._rows.items() if row != self._old(key)}
        mesh = self._before.mesh.evolve(moved.items()) if moved else self._before.mesh
        problems = self._problems()
        state = State(
            mesh=mesh,
            defaults=self._before.defaults,
            resources=self._resources.done(),
            groups=self._groups.done(),
            records=self._records.done(),
            readers=self._readers.done(),
            problems=problems,
        )
        return Step(state, self._delta(moved, mesh), problems)

    def _remember(self, unit: Unit, before: Record, after: Record) -> None:
        if not after.reads:
            self._records.drop(unit.rule, unit.owner)
        elif after != before:
            self._records.put(unit.rule, unit.owner, after)
        for fact in before.reads - after.reads:
            self._readers.drop(fact, unit)
        for fact in after.reads - before.reads:
            self._readers.put(fact, unit, None)
        self._problems_moved |= before.problems != after.problems

    def _set(self, key: Key, row: Struct | None, causes: Causes) -> None:
        before = self.row(*key)
        if before == row:
            return
        self._rows[key] = row
        self._causes |= causes
        self._touch(Fact(*key), causes)
        joined, left = _memberships(before, row, lambda it: groups.of_row(key.table, it))
        self._regroup(key.key, joined=joined, left=left, causes=causes)

    def _regroup(
        self, member: str, *, joined: set[Membership], left: set[Membership], causes: Causes
    ) -> None:
        for place in joined:
            self._groups.put(Fact(*place), member, None)
            self._touch(Fact(*place), causes)
        for place in left:
            self._groups.drop(Fact(*place), member)
            self._touch(Fact(*place), causes)

    def _touch(self, fact: Fact, causes: Causes) -> None:
        for unit in self._readers.shard(fact):
            owners = self._stale.setdefault(unit.rule, {})
            owners[unit.owner] = owners.get(unit.owner, causes) | causes

    def _generation(self, cause: Ref) -> int:
        resource = self.resource(parse_ref(cause)[0], cause)
        return resource.metadata.generation if resource is not None else 0

    def _old(self, key: Key) -> Struct | None:
        return self._before.mesh.rows(key.table).get(key.key)

    def _delta(self, moved: Mapping[Key, Struct | None], mesh: Mesh) -> Delta:
        if not moved:
            return Delta()
        causes = tuple(sorted(self._causes))
        return Delta(
            changed=frozenset(key for key, row in moved.items() if row is not None),
            removed=frozenset(key for key, row in moved.items() if row is None),
            causes=causes,
            generations=tuple(map(self._generation, causes)),
            observed=min(self._observed[cause] for cause in self._causes),
        )

    def _problems(self) -> tuple[Problem, ...]:
        if not self._problems_moved:
            return self._before.problems
        records = self._records.done().values()
        found = (record.problems for shard in records for record in shard.values())
        return tuple(sorted({problem for problems in found for problem in problems}))


def _memberships(
    before: T | None, after: T | None, grouping: Callable[[T], Iterable[Membership]]
) -> tuple[set[Membership], set[Membership]]:
    old = set() if before is None else set(grouping(before))
    new = set() if after is None else set(grouping(after))
    return new - old, old - new
