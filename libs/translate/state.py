"""State: the resources that are there, the mesh that follows from them, and why.

Every row of the mesh is derived by a rule for one owner, a resource. The record of a derivation
says what it read, so that a later event repeats exactly the derivations that may now differ. Nobody
writes down by hand what depends on what.
"""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from libs.api.problem import Problem
from libs.api.resource import Resource
from libs.model.delta import Delta
from libs.model.ids import Ref
from libs.model.mesh import Key, Mesh, Table
from libs.model.settings import MeshSettings
from libs.translate.sharded import Sharded


class Fact(NamedTuple):
    """One thing that a derivation may have read: a resource, a row, or who belongs to a group."""

    kind: str  # a kind, a table or a group
    key: str


class Unit(NamedTuple):
    """One derivation: a rule, for one owner."""

    rule: str
    owner: Ref


class Derived(Struct, frozen=True, gc=False):
    """What a rule makes of one resource."""

    rows: tuple[tuple[Key, Struct], ...] = ()
    problems: tuple[Problem, ...] = ()


class Record(Struct, frozen=True, gc=False):
    """What a derivation read and made."""

    reads: frozenset[Fact] = frozenset()
    keys: tuple[Key, ...] = ()
    problems: tuple[Problem, ...] = ()


class State(Struct, frozen=True):
    """Everything that translation remembers between events. Make the first with `initial`."""

    mesh: Mesh
    defaults: Mapping[Key, Struct]  # rows that stand while no resource gives them
    resources: Sharded[str, Ref, Resource] = {}  # by kind
    groups: Sharded[Fact, str, None] = {}  # members of each group
    records: Sharded[str, Ref, Record] = {}  # by rule, of each owner
    readers: Sharded[Fact, Unit, None] = {}  # who has read a fact
    problems: tuple[Problem, ...] = ()

    @property
    def settings(self) -> MeshSettings:
        """The mesh's settings as they are now."""
        return self.mesh.settings


class Step(NamedTuple):
    """What events led to: the next state, which rows moved, and every problem there is now."""

    state: State
    delta: Delta
    problems: tuple[Problem, ...]


def initial(settings: MeshSettings) -> State:
    """Return the state without resources; `settings` hold until a ConfigMap overrides them."""
    default: dict[Key, Struct] = {Key(Table.SETTINGS, ""): settings}
    return State(mesh=Mesh().evolve(default.items()), defaults=default)
