"""View: all that a rule may ask, and the memory of what it asked.

A rule reads nothing but its owner and its view. That is what makes incremental translation equal to
translating everything again.
"""

from collections.abc import Iterable
from typing import Protocol, TypeVar, cast

from msgspec import Struct

from libs.api.resource import Resource
from libs.model.ids import Ref, ref
from libs.model.mesh import Key, Table
from libs.model.settings import MeshSettings
from libs.translate.groups import Group
from libs.translate.state import Fact

R = TypeVar("R", bound=Resource)


class Source(Protocol):
    """Where a view looks things up."""

    def resource(self, kind: str, reference: Ref) -> Resource | None:
        """Return a resource, or None."""
        ...

    def row(self, table: Table, key: str) -> Struct | None:
        """Return a row, or None."""
        ...

    def members(self, group: Group, key: str) -> Iterable[str]:
        """Return the refs or row keys that stand in a group under `key`."""
        ...

    def default(self, key: Key) -> Struct | None:
        """Return the row that stands while no resource gives one."""
        ...


class View:
    """Answers questions of one derivation. `reads` is what it has asked so far."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.reads: set[Fact] = set()

    @property
    def default_settings(self) -> MeshSettings:
        """The settings that hold without the mesh's ConfigMap; they never change."""
        return cast("MeshSettings", self._source.default(Key(Table.SETTINGS, "")))

    @property
    def settings(self) -> MeshSettings:
        """The mesh's settings."""
        return cast("MeshSettings", self.row(Table.SETTINGS, ""))

    def resource(self, kind: type[R], namespace: str, name: str) -> R | None:
        """Return the resource of that name, or None."""
        return self._resource(kind, ref(kind.__name__, namespace, name))

    def resources(self, kind: type[R], group: Group, key: str) -> list[R]:
        """Return the resources of a group, ordered by reference."""
        found = (self._resource(kind, Ref(member)) for member in self._members(group, key))
        return [resource for resource in found if resource is not None]

    def row(self, table: Table, key: str) -> Struct | None:
        """Return the row of that key, or None."""
        self.reads.add(Fact(table, key))
        return self._source.row(table, key)

    def rows(self, table: Table, group: Group, key: str) -> list[Struct]:
        """Return the rows of a group, ordered by key."""
        found = (self.row(table, member) for member in self._members(group, key))
        return [row for row in found if row is not None]

    def _resource(self, kind: type[R], reference: Ref) -> R | None:
        self.reads.add(Fact(kind.__name__, reference))
        return cast("R | None", self._source.resource(kind.__name__, reference))

    def _members(self, group: Group, key: str) -> list[str]:
        self.reads.add(Fact(group, key))
        return sorted(self._source.members(group, key))
